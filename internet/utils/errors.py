"""Errors as messages for users. Imports nothing heavy: the command line needs it before torch is imported."""


def format_error(error: BaseException) -> str:
    """The message of an error, without the system's error number; the name of an error without a message."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "there is not enough memory" + (f" ({error})" if str(error) else "")
    return str(error) or type(error).__name__


def is_expected(error: BaseException) -> bool:
    """Whether an error is of a kind that input, files or the machine's limits can cause; any other is a bug."""
    if isinstance(error, (OSError, ValueError, ImportError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    words = str(error)
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in words or "No space left" in words
