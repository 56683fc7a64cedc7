"""Reading a folder of message definitions and finding the interface packages it depends on."""

import hashlib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from storm_core.errors import SetupError

DEFINITIONS = Path(__file__).parent / "definitions"


@dataclass(frozen=True)
class InterfacePackage:
    """One folder of definitions in the standard form: package.xml beside msg/*.msg.

    Attributes:
      name: ROS package name.
      folder: where package.xml lies.
      messages: .msg files, relative to the folder, sorted.
      depends: names from the <…depend> tags.
    """

    name: str
    folder: Path
    messages: tuple[Path, ...]
    depends: tuple[str, ...]

    def digest(self) -> str:
        """SHA-256 over the text of package.xml and of all messages."""
        sha = hashlib.sha256()
        for path in (Path("package.xml"), *self.messages):
            sha.update(f"{path.as_posix()}\0".encode() + (self.folder / path).read_bytes() + b"\0")
        return sha.hexdigest()


def read_package(folder: Path) -> InterfacePackage:
    """The package defined in `folder` (SetupError when it is incomplete)."""
    try:
        root = ElementTree.parse(folder / "package.xml").getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise SetupError(f"cannot read {folder / 'package.xml'}: {error}; reinstall storm") from error
    messages = tuple(sorted(path.relative_to(folder) for path in (folder / "msg").glob("*.msg")))
    if not messages:
        raise SetupError(f"{folder / 'msg'} holds no .msg file; reinstall storm")
    return InterfacePackage(root.findtext("name", folder.name), folder, messages, _depends(root))


def installed_dependencies(names: tuple[str, ...], prefix: Path) -> dict[str, Path]:
    """Share folder of every installed interface package that `names` need, themselves included.

    Packages without interfaces (generators, build tools) are left out; a missing one raises SetupError.
    """
    index = prefix / "share" / "ament_index" / "resource_index"
    found: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name in found or not (index / "rosidl_interfaces" / name).exists():
            if name in names and name not in found:
                raise SetupError(f"message package {name} is not installed in {prefix}; run: "
                                 f"pip install ros-{name.replace('_', '-')}")
            continue
        found[name] = prefix / "share" / name
        waiting += _depends(ElementTree.parse(found[name] / "package.xml").getroot())
    return found


def _depends(root: ElementTree.Element) -> tuple[str, ...]:
    tags = ("depend", "build_depend", "exec_depend", "build_export_depend")
    return tuple(dict.fromkeys(e.text.strip() for e in root if e.tag in tags and e.text))
