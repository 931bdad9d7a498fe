//! Bounds on files and archives.

use super::bound::bounds;

bounds! {
    "Files":
    NAME_BYTES = Bytes(255), "One name", "ENAMETOOLONG";
    PATH_BYTES = Bytes(4_096), "One path, and the target of a symbolic link", "ENAMETOOLONG";
    SYMLINKS = Count(40), "Symbolic links that one path leads through", "ELOOP";
    DEPTH = Count(512), "Directories in each other", "ENAMETOOLONG";
    LINKS = Count(65_000), "Names of one file", "EMLINK";
    MOUNTS = Count(32), "Mounts of one VM", "the manifest is refused";
    MOUNTED_FILE_BYTES = Bytes(20 << 20), "Bytes of the ConfigMaps and Secrets that one VM mounts", "it does not start, `StorageLimit`";
    ARCHIVE_BYTES = Bytes(2 << 30), "One archive that is copied into a VM, and all that wait for theirs together", "refused, `NoSpace`";
    ARCHIVES = Count(64), "Archives of one cell that wait for their VM", "refused, `NoSpace`";
    ARCHIVE_NAME_BYTES = Bytes(4_097), "A name or target in an archive, its final zero included", "refused";
    ARCHIVE_PIECE_BYTES = Bytes(64 << 10), "Bytes of an archive that are sent at once", "the next piece follows";
    ARCHIVE_PIECES = Count(8), "Pieces of an archive that wait to be sent", "waits";
    ARCHIVE_COPY_BYTES = Bytes(256 << 10), "Bytes of an archive that are unpacked at once", "the next piece follows";
    ARCHIVE_ENTRIES = Count(256), "Entries of a directory that are packed at once", "the next page follows";
}
