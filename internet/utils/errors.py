"""Errors in the words that a user reads. It imports nothing heavy: the command line needs it before torch is there."""


def format_error(error: BaseException) -> str:
    """What an error says, without the number that the system has for it; of one that says nothing, its name."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "there is not enough memory" + (f" ({error})" if str(error) else "")
    return str(error) or type(error).__name__


def is_expected(error: BaseException) -> bool:
    """Whether an error is of the kinds that input, files and the machine's limits raise; any other is a bug of ours."""
    if isinstance(error, (OSError, ValueError, ImportError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    words = str(error)
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in words or "No space left" in words
