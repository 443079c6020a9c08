"""Every error that edgeseg raises for a reason a user can act on.

    EdgesegError                    1  unexpected
    ├── UsageError                  2  an argument, option or name
    │   ├── UnknownNameError           a model, loss, dataset, runtime or target that does not exist
    │   ├── MissingExtraError          an optional part of the installation is not there
    │   ├── OutputError                a file or folder that cannot be written where it was asked for
    │   ├── KeyFileError               a file that does not hold the key it should
    │   └── InstallationError          a folder that edgeseg install did not make, nothing to roll back to
    │       └── InstallationBusyError      another install or rollback is at work there
    ├── TrainingError               1  a run that cannot go on: collapsed, not finite
    ├── UnhealthyError              1  a loop whose masks cannot be used now, or that does not run any more
    ├── DataError                   3  a dataset, image, mask or label file
    │   ├── LabelError                 ids or colours that the label set does not map
    │   ├── CacheError                 the decoded cache could not be written or read
    │   └── PictureError               a picture from elsewhere, sent or uploaded, that is none or is damaged
    │       ├── PictureKindError           of a kind that is not taken
    │       └── PictureSizeError           of more pixels than are taken
    ├── ConversionError             4  a model could not be converted
    │   └── EngineBuildError           no TensorRT engine could be made of a model file on this device
    ├── AccuracyGateError           5  an artifact differs from its model by more than was allowed
    ├── LatencyGateError            6  an artifact is slower than was allowed
    ├── SourceError                 7  a camera, video or stream
    │   ├── CorruptFrameError          one frame that does not decode; the next may
    │   └── SinkError                  a video file, folder or window that cannot be written
    ├── BundleError                 8  a bundle that must not be used
    │   ├── BundleMissingError         no bundle there
    │   ├── MemberMissingError         a file that the manifest names is not there
    │   ├── MemberUnexpectedError      a file that the manifest does not name
    │   │   ├── MemberNameError            a name that leads elsewhere, is reserved or differs only in case
    │   │   ├── MemberLinkError            a symbolic link, or a file with a second name
    │   │   ├── MemberKindError            a folder, pipe, socket or device
    │   │   └── MemberCountError           more files than any bundle has
    │   ├── MemberSizeError            a member is longer or shorter than the manifest says
    │   ├── MemberHashError            a member's bytes are not those that were exported
    │   ├── ManifestError              manifest.json is damaged or of another schema
    │   ├── SignatureError             a signature that was asked for and does not hold
    │   │   ├── SignatureMissingError      there is none
    │   │   ├── SignatureMalformedError    signature.json is damaged or of another schema
    │   │   ├── UntrustedKeyError          made with a key that is not among the trusted ones
    │   │   └── SignatureMismatchError     the trusted key did not sign this manifest
    │   ├── MinimumVersionError        older than the oldest that may be installed
    │   ├── TrialError                 a model file that its trial process could not load
    │   │   ├── TrialCrashedError          the process died
    │   │   └── TrialLimitError            it took more time or memory than it may
    │   ├── UnsafeModelError           a model file reaches outside itself, or needs custom code
    │   ├── GoldenMismatchError        the model does not give the masks it gave when it was exported
    │   └── RuntimeUnavailableError    no installed runtime can run this bundle
    └── InferenceError              9  the runtime failed on a frame

The number is the process's exit code. Each message names the argument or file, what was expected, what
was found, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class EdgesegError(Exception):
    """Base of all of edgeseg's errors.

    Args:
        subject: The argument, file or part that the error is about.
        expected: What would have been right.
        found: What was there instead.
        next_step: What the reader should do now, as a full sentence.
    """

    exit_code = 1

    def __init__(self, subject: str | Path, *, expected: str, found: str, next_step: str) -> None:
        self.subject = str(subject)
        self.expected = expected
        self.found = found
        self.next_step = next_step
        super().__init__(f"{self.subject}: expected {expected}, found {found}. {next_step}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive pickling by default, and worker processes send errors back.
        return (_rebuild, (type(self), self.subject, self.expected, self.found, self.next_step))


class UsageError(EdgesegError):
    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in one of the project's dicts; the message lists the known ones."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        return cls(
            f"{kind} {name!r}",
            expected=f"one of {', '.join(sorted(known))}",
            found="no such name",
            next_step="Run 'edgeseg info' to see all of them.",
        )


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, what: str, package: str, extra: str) -> MissingExtraError:
        return cls(
            what,
            expected=f"the Python package {package!r}",
            found="it is not installed",
            next_step=f"Install it with: pip install 'edgeseg[{extra}]'",
        )


class OutputError(UsageError, OSError):
    """Still an ``OSError``, with its ``errno``: a caller who knows more of the place can say more."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> OutputError:
        made = cls(
            path,
            expected="a place that can be written",
            found=error.strerror or type(error).__name__,
            next_step="Name another place, or check its permissions and the free space.",
        )
        made.errno, made.strerror = error.errno, error.strerror
        return made

    def __str__(self) -> str:
        # Not OSError's own, which knows no more than the number.
        return str(self.args[0])


class KeyFileError(UsageError):
    pass


class InstallationError(UsageError):
    pass


class InstallationBusyError(InstallationError):
    pass


class TrainingError(EdgesegError):
    exit_code = 1


class UnhealthyError(EdgesegError):
    exit_code = 1


class DataError(EdgesegError):
    exit_code = 3


class LabelError(DataError):
    pass


class CacheError(DataError):
    pass


class PictureError(DataError):
    pass


class PictureKindError(PictureError):
    pass


class PictureSizeError(PictureError):
    pass


class ConversionError(EdgesegError):
    exit_code = 4


class EngineBuildError(ConversionError):
    pass


class AccuracyGateError(EdgesegError):
    exit_code = 5


class LatencyGateError(EdgesegError):
    exit_code = 6


class SourceError(EdgesegError):
    exit_code = 7


class CorruptFrameError(SourceError):
    """One frame is damaged; its source goes on."""


class SinkError(SourceError):
    pass


class BundleError(EdgesegError):
    exit_code = 8


class BundleMissingError(BundleError):
    pass


class MemberMissingError(BundleError):
    pass


class MemberUnexpectedError(BundleError):
    pass


class MemberNameError(MemberUnexpectedError):
    pass


class MemberLinkError(MemberUnexpectedError):
    pass


class MemberKindError(MemberUnexpectedError):
    pass


class MemberCountError(MemberUnexpectedError):
    pass


class MemberSizeError(BundleError):
    pass


class MemberHashError(BundleError):
    pass


class ManifestError(BundleError):
    pass


class SignatureError(BundleError):
    pass


class SignatureMissingError(SignatureError):
    pass


class SignatureMalformedError(SignatureError):
    pass


class UntrustedKeyError(SignatureError):
    pass


class SignatureMismatchError(SignatureError):
    pass


class MinimumVersionError(BundleError):
    pass


class TrialError(BundleError):
    pass


class TrialCrashedError(TrialError):
    pass


class TrialLimitError(TrialError):
    pass


class UnsafeModelError(BundleError):
    pass


class GoldenMismatchError(BundleError):
    pass


class RuntimeUnavailableError(BundleError):
    pass


class InferenceError(EdgesegError):
    exit_code = 9


def _rebuild(
    kind: type[EdgesegError], subject: str, expected: str, found: str, next_step: str
) -> EdgesegError:
    return kind(subject, expected=expected, found=found, next_step=next_step)
