"""Distances of a student's logits from a teacher's, ``(teacher, student, temperature) -> scalar``.

All are Kullback-Leibler divergences of softened distributions. A new one is its function and its line in
``DISTILLATIONS``.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def pixel(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """Divergence of a pixel's classes (Hinton et al., https://arxiv.org/abs/1503.02531).

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


def channel(teacher: Any, student: Any, temperature: float = 1.0) -> Any:
    """Divergence of a class's place in the image (Shu et al., https://arxiv.org/abs/2011.13256).

    Formula: ``T² · mean over images and classes of Σ p·(log p − log q)``, ``p = softmax(teacher / T)`` and
    ``q = softmax(student / T)`` over the pixels of a class's map. A class of few pixels counts as much as the
    road, and where it is in no pixel, the teacher's map still says where it comes closest.

    Args:
        teacher: Logits ``float [N, H, W, C]``.
        student: Logits of the same shape.
        temperature: T > 0; higher spreads a class's mass over more pixels.

    Returns:
        A scalar ≥ 0; 0 where both say the same.
    """
    p = ops.log_softmax(_maps(teacher) / temperature, axis=1)
    q = ops.log_softmax(_maps(student) / temperature, axis=1)
    return temperature**2 * ops.mean(ops.sum(ops.exp(p) * (p - q), axis=1))


DISTILLATIONS = {"channel": channel, "pixel": pixel}


def _maps(logits: Any) -> Any:
    """``float32 [N, H·W, C]``."""
    _, height, width, classes = logits.shape
    return ops.reshape(ops.cast(logits, "float32"), (-1, height * width, classes))
