"""Files and folders written whole or not at all, and read only as they were written.

What hunch writes is made aside, flushed to disk and then takes its name in one step, so a kill
leaves either the old one or the new one (`replacing`, `asides`). `places` says where an output may
go: never over what hunch did not write. A folder holds `hunch.json`, the checksums of its files
(`folders`); a JSON file that stands alone is sealed (`formats`).
"""

from hunch.storage.asides import scratch_folder, sweep
from hunch.storage.files import check_writable, new_file, write_own_text, write_text
from hunch.storage.folders import (
    check_replaceable,
    existing_folder,
    first_folder,
    is_of_the_system,
    new_folder,
    open_folder,
    read_manifest,
)
from hunch.storage.formats import (
    as_written,
    checksum,
    dump_json,
    read_json,
    read_tensors,
    sealed,
    unsealed,
    versions,
    write_json,
    write_tensors,
)
from hunch.storage.places import (
    check_own_file,
    check_own_folder,
    expanded,
    file_place,
    folder_place,
    written_with,
)
from hunch.storage.replacing import recovered

__all__ = [
    "as_written",
    "check_own_file",
    "check_own_folder",
    "check_replaceable",
    "check_writable",
    "checksum",
    "dump_json",
    "existing_folder",
    "expanded",
    "file_place",
    "first_folder",
    "folder_place",
    "is_of_the_system",
    "new_file",
    "new_folder",
    "open_folder",
    "read_json",
    "read_manifest",
    "read_tensors",
    "recovered",
    "scratch_folder",
    "sealed",
    "sweep",
    "unsealed",
    "versions",
    "write_json",
    "write_own_text",
    "write_tensors",
    "write_text",
    "written_with",
]
