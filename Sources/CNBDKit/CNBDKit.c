/* The part of nbdkit's plugin that must be C: the table of functions that nbdkit asks for, which are
   Swift's (Sources/NBDPlugin). The interface is that of nbdkit-plugin(3), version 2. */
#include "CNBDKit.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <stddef.h>

/* Reads may come from any number of threads, on one connection too. */
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* In Swift. */
const char *drover_nbd_version(void);
const char *drover_nbd_help(void);
int drover_nbd_config(const char *key, const char *value);
int drover_nbd_config_complete(void);
int drover_nbd_get_ready(void);
void drover_nbd_unload(void);
int drover_nbd_list_exports(struct nbdkit_exports *exports);
const char *drover_nbd_default_export(void);
void *drover_nbd_open(const char *name);
void drover_nbd_close(void *disk);
int64_t drover_nbd_size(void *disk);
const char *drover_nbd_description(void *disk);
int drover_nbd_read(void *disk, void *buffer, uint32_t count, uint64_t offset);
int drover_nbd_extents(void *disk, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents);

void cnbdkit_fail(const char *line, int error) {
    nbdkit_error("%s", line);
    nbdkit_set_error(error);
}

int cnbdkit_add_extent(struct nbdkit_extents *extents, uint64_t start, uint64_t length, int is_zero) {
    return nbdkit_add_extent(extents, start, length, is_zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0);
}

int cnbdkit_add_export(struct nbdkit_exports *exports, const char *name, const char *description) {
    return nbdkit_add_export(exports, name, description);
}

const char *cnbdkit_copy(const char *text) { return nbdkit_strdup_intern(text); }

int cnbdkit_wants_one(uint32_t flags) { return (flags & NBDKIT_FLAG_REQ_ONE) != 0; }

static int list_exports(int readonly, int is_tls, struct nbdkit_exports *exports) {
    return drover_nbd_list_exports(exports);
}

static const char *default_export(int readonly, int is_tls) { return drover_nbd_default_export(); }

static void *open_disk(int readonly) {
    const char *name = nbdkit_export_name();
    return name ? drover_nbd_open(name) : NULL;
}

static int can_not(void *disk) { return 0; }

/* What any connection reads is the same. */
static int can_multi_conn(void *disk) { return 1; }

static int pread_disk(void *disk, void *buffer, uint32_t count, uint64_t offset, uint32_t flags) {
    return drover_nbd_read(disk, buffer, count, offset);
}

/* Any byte can be read; sectors are not read twice where requests are whole pages. */
static int block_size(void *disk, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum) {
    *minimum = 1;
    *preferred = 4096;
    *maximum = 32 << 20;
    return 0;
}

static struct nbdkit_plugin plugin = {
    .name = "drover",
    .longname = "Drover",
    .description = "disks of COW and qcow2 chains, and of Drover's archives",
    .magic_config_key = "file",
    .config = drover_nbd_config,
    .config_complete = drover_nbd_config_complete,
    .get_ready = drover_nbd_get_ready,
    .unload = drover_nbd_unload,
    .list_exports = list_exports,
    .default_export = default_export,
    .open = open_disk,
    .close = drover_nbd_close,
    .get_size = drover_nbd_size,
    .export_description = drover_nbd_description,
    .can_write = can_not,
    .can_flush = can_not,
    .is_rotational = can_not,
    .can_multi_conn = can_multi_conn,
    .block_size = block_size,
    .pread = pread_disk,
    .extents = drover_nbd_extents,
};

/* As NBDKIT_REGISTER_PLUGIN, with a version and a help that are kept elsewhere. */
struct nbdkit_plugin *plugin_init(void);

struct nbdkit_plugin *plugin_init(void) {
    plugin._struct_size = sizeof plugin;
    plugin._api_version = NBDKIT_API_VERSION;
    plugin._thread_model = THREAD_MODEL;
    plugin.version = drover_nbd_version();
    plugin.config_help = drover_nbd_help();
    return &plugin;
}
