"""The distance of a student's logits from a teacher's (Hinton et al., https://arxiv.org/abs/1503.02531)."""

from __future__ import annotations

from typing import Any

from keras import ops


def distillation(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """Kullback-Leibler divergence of the student's classes from the teacher's, softened, per pixel.

    Formula: ``T² · mean over pixels of Σ p·(log p − log q)`` with ``p = softmax(teacher / T)`` and
    ``q = softmax(student / T)``. Every pixel counts: where the label is ignored the teacher still has a view.

    Args:
        teacher: Logits ``float [N, H, W, C]``.
        student: Logits of the same shape.
        temperature: T > 0; higher shows more of how the teacher ranks the classes it does not choose.

    Returns:
        A scalar ≥ 0; 0 where both say the same.
    """
    p = ops.log_softmax(ops.cast(teacher, "float32") / temperature, axis=-1)
    q = ops.log_softmax(ops.cast(student, "float32") / temperature, axis=-1)
    return temperature**2 * ops.mean(ops.sum(ops.exp(p) * (p - q), axis=-1))
