"""Reads and writes the control variables of the MPI library that this process runs on, while it runs.

mpi4py has no MPI_T; the functions are found through mpi4py's own extension module, whose dependencies the dynamic
linker searches, so that it is the very same library.

Source: MPI 4.0, chapter 15.3 (the MPI tool information interface); MPICH 5.0, maint/extractcvars
"""

from __future__ import annotations

import ctypes
import re

from ncclprobe.errors import BackendError

_NAME_BYTES, _TEXT_BYTES = 512, 1 << 14
_CHOICE = re.compile(r"^\s*(\w+)\s+-\s", re.MULTILINE)


class Variable:
    """One control variable of integers or named choices.

    Attributes:
        name: The library's.
        choices: Name -> value; empty where the variable has no named values.
        initial: Its value when it was looked up.
    """

    def __init__(self, library: ctypes.CDLL, name: str, index: int) -> None:
        self._library, self.name = library, name
        self._handle, count = ctypes.c_void_p(), ctypes.c_int()
        _check(
            library.MPI_T_cvar_handle_alloc(index, None, ctypes.byref(self._handle), ctypes.byref(count)),
            f"take hold of {name}",
        )
        self.initial = self.read()
        self.choices = _choices(library, index, self.initial)

    def read(self) -> int:
        """Return the value in force."""
        value = ctypes.c_int()
        _check(self._library.MPI_T_cvar_read(self._handle, ctypes.byref(value)), f"read {self.name}")
        return value.value

    def write(self, value: int) -> None:
        """Put a value in force for this process, from the next call on."""
        _check(self._library.MPI_T_cvar_write(self._handle, ctypes.byref(ctypes.c_int(value))), f"write {self.name}")


class ControlVariables:
    """The library's control variables by name."""

    def __init__(self, extension: str) -> None:
        self._library = ctypes.CDLL(extension)
        if not hasattr(self._library, "MPI_T_init_thread"):
            raise BackendError(f"the MPI library behind {extension} has no MPI_T; its algorithms cannot be chosen live")
        provided = ctypes.c_int()
        _check(self._library.MPI_T_init_thread(0, ctypes.byref(provided)), "start")

    def find(self, name: str | None) -> Variable | None:
        """Return a variable, None where the library has none of that name."""
        index = ctypes.c_int()
        if name is None or self._library.MPI_T_cvar_get_index(name.encode(), ctypes.byref(index)):
            return None
        return Variable(self._library, name, index.value)


def parse_choices(description: str) -> list[str]:
    """Return the names that MPICH's description of a variable lists, in the order of their values.

    MPICH registers no MPI_T enumeration; its build takes names and values from these very lines.

    Source: MPICH 5.0, maint/extractcvars
    """
    return _CHOICE.findall(description)


def _choices(library: ctypes.CDLL, index: int, initial: int) -> dict[str, int]:
    enumeration, description = _info(library, index)
    if enumeration:
        return _enumerated(library, enumeration)
    names = parse_choices(description)
    # In older versions the values of several variables are numbered on; the variable stands at `auto` at start.
    first = initial - names.index("auto") if "auto" in names else 0
    return {name: first + place for place, name in enumerate(names)}


def _info(library: ctypes.CDLL, index: int) -> tuple[ctypes.c_void_p, str]:
    """Return a variable's enumeration, null where it has none, and its description."""
    name, text = ctypes.create_string_buffer(_NAME_BYTES), ctypes.create_string_buffer(_TEXT_BYTES)
    name_bytes, text_bytes = ctypes.c_int(_NAME_BYTES), ctypes.c_int(_TEXT_BYTES)
    verbosity, bind, scope = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    datatype, enumeration = ctypes.c_void_p(), ctypes.c_void_p()
    out = (name, name_bytes, verbosity, datatype, enumeration, text, text_bytes, bind, scope)
    _check(library.MPI_T_cvar_get_info(index, *map(_reference, out)), f"describe variable {index}")
    return enumeration, text.value.decode("utf-8", "replace")


def _reference(value: ctypes._CData) -> object:
    return value if isinstance(value, ctypes.Array) else ctypes.byref(value)


def _enumerated(library: ctypes.CDLL, enumeration: ctypes.c_void_p) -> dict[str, int]:
    count, name, size = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_int(_NAME_BYTES)
    _check(library.MPI_T_enum_get_info(enumeration, ctypes.byref(count), name, ctypes.byref(size)), "list choices")
    choices = {}
    for place in range(count.value):
        value, size = ctypes.c_int(), ctypes.c_int(_NAME_BYTES)
        _check(
            library.MPI_T_enum_get_item(enumeration, place, ctypes.byref(value), name, ctypes.byref(size)),
            "name a choice",
        )
        choices[name.value.decode("utf-8", "replace")] = value.value
    return choices


def _check(code: int, what: str) -> None:
    if code:
        raise BackendError(f"MPI_T could not {what}: error {code}; the MPI library may not let programs change it")
