#include "CCurl.h"
#include <curl/curl.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* As they are declared in curl.h, without its macros that check the types of arguments. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

static struct {
    __typeof__(&curl_global_init) global_init;
    __typeof__(&curl_easy_init) easy_init;
    __typeof__(&curl_easy_setopt) easy_setopt;
    __typeof__(&curl_easy_perform) easy_perform;
    __typeof__(&curl_easy_getinfo) easy_getinfo;
    __typeof__(&curl_easy_reset) easy_reset;
    __typeof__(&curl_easy_cleanup) easy_cleanup;
    __typeof__(&curl_easy_strerror) easy_strerror;
    __typeof__(&curl_slist_append) slist_append;
    __typeof__(&curl_slist_free_all) slist_free_all;
    __typeof__(&curl_getdate) getdate;
} curl;
static int is_loaded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    /* Debian has it with OpenSSL and with GnuTLS; the interface is one. */
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
#define FIND(function) if (!(*(void **)&curl.function = dlsym(library, "curl_" #function))) return
    FIND(global_init);
    FIND(easy_init);
    FIND(easy_setopt);
    FIND(easy_perform);
    FIND(easy_getinfo);
    FIND(easy_reset);
    FIND(easy_cleanup);
    FIND(easy_strerror);
    FIND(slist_append);
    FIND(slist_free_all);
    FIND(getdate);
#undef FIND
    is_loaded = curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

int ccurl_load(void) {
    pthread_once(&once, load);
    return is_loaded;
}

void *ccurl_open(void) { return curl.easy_init(); }

void ccurl_close(void *connection) { curl.easy_cleanup(connection); }

int64_t ccurl_seconds(const char *date) { return curl.getdate(date, NULL); }

struct transfer {
    struct ccurl_answer *answer;
    char *buffer;
    size_t count;
};

/* The value of `line` where it is the header `name`, without the white space around it. */
static int value(const char *line, size_t length, const char *name, char *text, size_t capacity) {
    size_t skipped = strlen(name);
    if (length <= skipped || strncasecmp(line, name, skipped) || line[skipped] != ':') return 0;
    skipped++;
    while (skipped < length && (line[skipped] == ' ' || line[skipped] == '\t')) skipped++;
    while (length > skipped && strchr(" \t\r\n", line[length - 1])) length--;
    /* What does not fit is no value that anything could be held against. */
    size_t count = length - skipped < capacity ? length - skipped : 0;
    memcpy(text, line + skipped, count);
    text[count] = 0;
    return 1;
}

static void forget(struct ccurl_answer *answer) {
    memset(answer, 0, sizeof *answer);
    answer->first = answer->last = answer->total = -1;
}

static size_t take_header(char *line, size_t size, size_t count, void *context) {
    struct ccurl_answer *answer = ((struct transfer *)context)->answer;
    size_t length = size * count;
    char range[128];
    /* A new answer begins: one before it was provisional. */
    if (length > 5 && !strncmp(line, "HTTP/", 5)) {
        forget(answer);
        const char *space = memchr(line, ' ', length);
        if (space) answer->status = strtol(space, NULL, 10);
    }
    value(line, length, "ETag", answer->etag, sizeof answer->etag);
    value(line, length, "Last-Modified", answer->modified, sizeof answer->modified);
    value(line, length, "Content-Encoding", answer->encoding, sizeof answer->encoding);
    value(line, length, "Location", answer->location, sizeof answer->location);
    if (value(line, length, "Content-Range", range, sizeof range)) {
        int end = 0;
        int64_t first, last, total;
        if (sscanf(range, "bytes %" SCNd64 "-%" SCNd64 "/%" SCNd64 "%n", &first, &last, &total, &end) == 3 && !range[end]) {
            answer->first = first;
            answer->last = last;
            answer->total = total;
        } else if (sscanf(range, "bytes */%" SCNd64 "%n", &total, &end) == 1 && !range[end]) {
            answer->total = total;
        }
    }
    return length;
}

static size_t take_bytes(char *bytes, size_t size, size_t count, void *context) {
    struct transfer *transfer = context;
    struct ccurl_answer *answer = transfer->answer;
    size_t length = size * count, room = transfer->count - answer->received;
    /* Nothing else than the range is wanted; the whole file may be terabytes. */
    if (answer->status != 206) return 0;
    if (length > room) {
        answer->has_more = 1;
        return 0;
    }
    memcpy(transfer->buffer + answer->received, bytes, length);
    answer->received += length;
    return length;
}

int ccurl_get(void *connection, const char *url, uint64_t offset, size_t count, const char *etag, void *buffer, struct ccurl_answer *answer,
              char *problem) {
    struct transfer transfer = {answer, buffer, count};
    char range[64], condition[300];
    struct curl_slist *headers = NULL;
    problem[0] = 0;
    forget(answer);
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, offset, offset + count - 1);
    /* The connection itself stays. */
    curl.easy_reset(connection);
    curl.easy_setopt(connection, CURLOPT_URL, url);
    curl.easy_setopt(connection, CURLOPT_RANGE, range);
    curl.easy_setopt(connection, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    curl.easy_setopt(connection, CURLOPT_FOLLOWLOCATION, 0L);
    /* As the program curl has it. */
    const char *authorities = getenv("CURL_CA_BUNDLE");
    if (!authorities || !*authorities) authorities = getenv("SSL_CERT_FILE");
    if (authorities && *authorities) curl.easy_setopt(connection, CURLOPT_CAINFO, authorities);
    curl.easy_setopt(connection, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
    curl.easy_setopt(connection, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(connection, CURLOPT_NOPROGRESS, 1L);
    curl.easy_setopt(connection, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl.easy_setopt(connection, CURLOPT_CONNECTTIMEOUT, 30L);
    /* A server that sends nothing for a minute is gone. */
    curl.easy_setopt(connection, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl.easy_setopt(connection, CURLOPT_LOW_SPEED_TIME, 60L);
    curl.easy_setopt(connection, CURLOPT_USERAGENT, "drover");
    curl.easy_setopt(connection, CURLOPT_ERRORBUFFER, problem);
    curl.easy_setopt(connection, CURLOPT_HEADERFUNCTION, take_header);
    curl.easy_setopt(connection, CURLOPT_HEADERDATA, &transfer);
    curl.easy_setopt(connection, CURLOPT_WRITEFUNCTION, take_bytes);
    curl.easy_setopt(connection, CURLOPT_WRITEDATA, &transfer);
    if (etag) {
        snprintf(condition, sizeof condition, "If-Match: %s", etag);
        headers = curl.slist_append(headers, condition);
        curl.easy_setopt(connection, CURLOPT_HTTPHEADER, headers);
    }
    CURLcode result = curl.easy_perform(connection);
    curl.slist_free_all(headers);
    curl.easy_setopt(connection, CURLOPT_ERRORBUFFER, NULL);
    /* That nothing of an answer was taken is said by its status. */
    if (result == CURLE_WRITE_ERROR && (answer->status != 206 || answer->has_more)) return 0;
    if (result != CURLE_OK && !problem[0]) snprintf(problem, 256, "%s", curl.easy_strerror(result));
    return result == CURLE_OK ? 0 : -1;
}
