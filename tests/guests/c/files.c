/* Works on files as C programs do, and prints what it found: one line for each step. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void need(int held, const char *what)
{
    if (!held) {
        printf("failed: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static unsigned hash(unsigned state, const void *bytes, size_t count)
{
    const unsigned char *byte = bytes;
    for (size_t index = 0; index < count; index++)
        state = (state ^ byte[index]) * 16777619u;
    return state;
}

/* WASI's library has no mkstemp: this is what it does everywhere else. */
static int temporary(char *pattern)
{
    char *digits = pattern + strlen(pattern) - 6;
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        snprintf(digits, 7, "%06u", attempt * 7919 % 1000000);
        int fd = open(pattern, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static void streams(void)
{
    FILE *file = fopen("/work/stream.txt", "w+");
    need(file != NULL, "fopen w+");
    for (int line = 0; line < 20000; line++)
        need(fprintf(file, "%d %x line\n", line, line * line) > 0, "fprintf");
    need(fflush(file) == 0, "fflush");
    long end = ftell(file);
    need(fseek(file, -12, SEEK_END) == 0, "fseek");
    char last[32];
    need(fgets(last, sizeof last, file) != NULL, "fgets");
    rewind(file);
    unsigned state = 2166136261u;
    char block[777];
    for (size_t count; (count = fread(block, 1, sizeof block, file)) > 0;)
        state = hash(state, block, count);
    need(feof(file) && !ferror(file), "feof");
    need(fclose(file) == 0, "fclose");
    file = fopen("/work/stream.txt", "a");
    need(file != NULL && fputs("more\n", file) >= 0 && fclose(file) == 0, "append");
    struct stat found;
    need(stat("/work/stream.txt", &found) == 0, "stat");
    printf("stream %ld %08x %ld\n", end, state, (long)found.st_size);
}

static void positions(void)
{
    int fd = open("/work/holes", O_RDWR | O_CREAT | O_TRUNC, 0644);
    need(fd >= 0, "open");
    need(pwrite(fd, "end", 3, 1000000) == 3, "pwrite");
    char bytes[8] = "xxxxxxx";
    need(pread(fd, bytes, 4, 999999) == 4 && memcmp(bytes, "\0end", 4) == 0, "pread");
    need(ftruncate(fd, 5) == 0, "ftruncate");
    need(lseek(fd, 0, SEEK_END) == 5, "lseek");
    need(write(fd, "abc", 3) == 3 && lseek(fd, 0, SEEK_CUR) == 8, "write");
    struct stat found;
    need(fstat(fd, &found) == 0 && S_ISREG(found.st_mode), "fstat");
    need(unlink("/work/holes") == 0 && pread(fd, bytes, 8, 0) == 8, "unlinked and open");
    need(fstat(fd, &found) == 0 && found.st_nlink == 0, "no names");
    printf("holes %ld %08x\n", (long)found.st_size, hash(2166136261u, bytes, 8));
    need(close(fd) == 0, "close");
}

static void directories(void)
{
    need(mkdir("/work/many", 0755) == 0, "mkdir");
    char name[64], other[64];
    for (int index = 0; index < 1000; index++) {
        snprintf(name, sizeof name, "/work/many/a%d", index);
        snprintf(other, sizeof other, "/work/many/b%d", index);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        need(fd >= 0 && close(fd) == 0, "create");
        need(rename(name, other) == 0, "rename");
    }
    /* Half of what is listed is removed while it is listed. */
    DIR *directory = opendir("/work/many");
    need(directory != NULL, "opendir");
    int seen = 0, removed = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        seen++;
        if (atoi(entry->d_name + 1) % 2 == 0) {
            snprintf(name, sizeof name, "/work/many/%s", entry->d_name);
            need(unlink(name) == 0, "unlink");
            removed++;
        }
    }
    need(closedir(directory) == 0, "closedir");
    need(rmdir("/work/many") == -1 && errno == ENOTEMPTY, "rmdir is refused");
    printf("listed %d removed %d\n", seen, removed);
}

static void temporaries(void)
{
    char first[] = "/work/tmpXXXXXX", second[] = "/work/tmpXXXXXX";
    int one = temporary(first), two = temporary(second);
    need(one >= 0 && two >= 0 && strcmp(first, second) != 0, "temporary files");
    need(write(one, "kept", 4) == 4 && close(one) == 0 && close(two) == 0, "write");
    need(rename(first, second) == 0, "rename over");
    struct stat found;
    need(stat(first, &found) == -1 && errno == ENOENT, "gone");
    need(stat(second, &found) == 0, "there");
    need(link(second, "/work/hard") == 0 && symlink("hard", "/work/soft") == 0, "links");
    struct stat soft;
    need(stat("/work/soft", &soft) == 0 && soft.st_ino == found.st_ino, "the same file");
    char target[16];
    long length = readlink("/work/soft", target, sizeof target);
    printf("temporary %ld %ld %.*s\n", (long)found.st_size, (long)soft.st_nlink, (int)length, target);
}

int main(void)
{
    streams();
    positions();
    directories();
    temporaries();
    need(open("/etc/passwd", O_RDONLY) == -1, "nothing of the host");
    puts("done");
    return 0;
}
