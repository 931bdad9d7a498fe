// poll makes the same request again and again and prints what becomes of it, whenever that is not
// what became of the last one: "STATUS BODY", or the code of the failure.
//
//	poll get URL      the whole answer, 20 times a second
//	poll stream URL   "open" when the answer begins, "over" when it ends; then again
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOST(name)                                                        \
    __attribute__((import_module("agentvm:http/requests@0.1.0"),          \
                   import_name(name)))

HOST("open")
uint32_t http_open(const char *method, uint32_t method_length, const char *url,
                   uint32_t url_length, const char *headers, uint32_t headers_length,
                   uint32_t flags, uint32_t *fd);
HOST("head")
uint32_t http_head(uint32_t fd, char *buffer, uint32_t length, uint32_t *whole);
HOST("failure")
uint32_t http_failure(uint32_t fd, char *buffer, uint32_t length, uint32_t *whole);

static char last[1024];

static void say(const char *text) {
    if (strcmp(text, last) != 0) {
        puts(text);
        fflush(stdout);
        strncpy(last, text, sizeof last - 1);
    }
}

static void say_failure(uint32_t fd) {
    char code[128];
    uint32_t whole = 0;
    if (http_failure(fd, code, sizeof code - 1, &whole) == 0 && whole < sizeof code) {
        code[whole] = 0;
        say(code);
    } else {
        say("no code");
    }
}

static void ask(const char *url, int is_stream) {
    uint32_t fd = 0, whole = 0;
    uint32_t error = http_open("GET", 3, url, strlen(url), "", 0, 0, &fd);
    if (error != 0) {
        char text[64];
        snprintf(text, sizeof text, "open failed: %u", error);
        say(text);
        return;
    }
    static char head[8192];
    if (http_head(fd, head, sizeof head - 1, &whole) != 0) {
        say_failure(fd);
        close(fd);
        return;
    }
    head[whole < sizeof head ? whole : sizeof head - 1] = 0;
    char *end = strchr(head, '\n');
    if (end) {
        *end = 0;
    }
    if (is_stream) {
        say("open");
    }
    static char body[512];
    size_t length = 0;
    for (;;) {
        char piece[4096];
        ssize_t got = read(fd, piece, sizeof piece);
        if (got == 0) {
            break;
        }
        if (got < 0) {
            if (is_stream) {
                say("over");
            } else {
                say_failure(fd);
            }
            close(fd);
            return;
        }
        size_t room = sizeof body - 1 - length;
        size_t kept = (size_t)got < room ? (size_t)got : room;
        memcpy(body + length, piece, kept);
        length += kept;
    }
    body[length] = 0;
    close(fd);
    if (is_stream) {
        say("over");
        return;
    }
    static char line[9000];
    snprintf(line, sizeof line, "%.200s %s", head, body);
    say(line);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        return 2;
    }
    int is_stream = strcmp(argv[1], "stream") == 0;
    for (;;) {
        ask(argv[2], is_stream);
        struct timespec rest = {0, 50 * 1000 * 1000};
        nanosleep(&rest, NULL);
    }
}
