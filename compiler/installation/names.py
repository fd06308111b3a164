"""Checks that the packages which the compiler imports are those of this project."""

from __future__ import annotations


def check(importer: str) -> None:
    """Imports ``kernels``, which checks all import names of this project.

    Args:
        importer: as of :func:`kernels.installation.check_names`.

    Raises:
        ImportError: another distribution uses one of the names; the message is one line.
    """
    try:
        from kernels.installation import check_names

        check_names(importer)
    except ModuleNotFoundError as error:
        if error.name != "kernels.installation":
            raise
        import kernels

        message = (
            f"the imported package kernels is not that of loopwright: {getattr(kernels, '__file__', None)}; "
            "use separate environments"
        )
    except ImportError as error:
        message = str(error)
    else:
        return
    raise ImportError(message, name=importer) from None
