/* Reads the newest mask that `edgeseg run --sink shm://NAME` has written; layout version 1.
 *
 *     edgeseg_mask_reader reader;
 *     edgeseg_mask mask;
 *     uint8_t *ids = malloc(CAPACITY);
 *     if (edgeseg_mask_open(&reader, "NAME") == EDGESEG_MASK_OK &&
 *         edgeseg_mask_read(&reader, &mask, ids, CAPACITY) == EDGESEG_MASK_OK && mask.valid)
 *         use(ids, mask.width, mask.height);
 *     edgeseg_mask_close(&reader);
 *
 * No lock is taken and nobody is waited for. Linux, little-endian, GCC or Clang, with their GNU or POSIX
 * names (-std=gnu11, the default, or -D_POSIX_C_SOURCE=200809L); C99 or C++11.
 * A mask is to be trusted only while it is young: compare captured_ns, and edgeseg_mask_heartbeat_age_ns(),
 * with what the vehicle can stand. It is no safety element.
 */
#ifndef EDGESEG_MASK_H
#define EDGESEG_MASK_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EDGESEG_MASK_LAYOUT = 1, EDGESEG_MASK_TRIES = 100 };

enum edgeseg_mask_result {
    EDGESEG_MASK_OK = 0,
    EDGESEG_MASK_MISSING = -1,   /* there is no such segment */
    EDGESEG_MASK_LAYOUT_BAD = -2, /* it is something else, or of another version */
    EDGESEG_MASK_EMPTY = -3,     /* no mask was written yet */
    EDGESEG_MASK_TOO_SMALL = -4, /* the buffer given has no room for width * height bytes */
    EDGESEG_MASK_BUSY = -5       /* the writer overtook every reading */
};

enum edgeseg_mask_state {
    EDGESEG_STARTING = 0, EDGESEG_OK = 1, EDGESEG_DEGRADED = 2, EDGESEG_FAILED = 3, EDGESEG_STOPPING = 4
};

/* The segment's beginning. Numbers are little-endian. */
typedef struct {
    char magic[8]; /* "EDGEMASK" */
    uint32_t version;
    uint32_t header_size; /* bytes to the first slot */
    uint32_t slot_count;
    uint32_t slot_header_size; /* bytes from a slot to its mask */
    uint64_t slot_size;        /* bytes from a slot to the next */
    uint64_t newest;           /* masks written so far; the newest is in slot (newest - 1) % slot_count */
    int64_t heartbeat_ns;      /* CLOCK_MONOTONIC of the last mask or change of state */
    int64_t writer_pid;
    uint64_t writer_start; /* field 22 of /proc/PID/stat */
    uint32_t state;        /* of the loop, at the heartbeat */
    uint32_t closed;       /* 1: the writer has ended; a new one makes a new segment */
    uint32_t class_count;
    uint32_t ignore_index;
    uint32_t names_offset; /* class names in order, UTF-8, each ended by a zero byte */
    uint32_t names_size;
} edgeseg_mask_header;

/* What stands before each mask. */
typedef struct {
    uint64_t counter; /* odd while the slot is written */
    uint64_t sequence;
    uint64_t epoch;
    int64_t captured_ns;  /* CLOCK_MONOTONIC */
    int64_t published_ns; /* CLOCK_MONOTONIC */
    int64_t age_ns;       /* from capture to publication */
    uint32_t width;
    uint32_t height;
    uint32_t state; /* of the loop, at publication */
    uint8_t valid;
    uint8_t late;
    uint8_t clock; /* captured_ns is 0: the arrival of the frame, 1: the camera driver's time */
    uint8_t reserved;
    uint8_t digest[32]; /* SHA-256 of the bundle's manifest */
    uint8_t padding[32];
} edgeseg_mask;

typedef struct {
    const uint8_t *base;
    size_t size;
} edgeseg_mask_reader;

static inline const edgeseg_mask_header *edgeseg_mask_head(const edgeseg_mask_reader *reader) {
    return (const edgeseg_mask_header *)(const void *)reader->base;
}

static inline int edgeseg_mask_open(edgeseg_mask_reader *reader, const char *name) {
    char path[256];
    struct stat info;
    void *base;
    const edgeseg_mask_header *head;
    int file;
    reader->base = NULL;
    reader->size = 0;
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return EDGESEG_MASK_MISSING;
    if (fstat(file, &info) != 0 || (size_t)info.st_size < sizeof(edgeseg_mask_header)) {
        close(file);
        return EDGESEG_MASK_LAYOUT_BAD;
    }
    base = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (base == MAP_FAILED) return EDGESEG_MASK_MISSING;
    head = (const edgeseg_mask_header *)base;
    if (memcmp(head->magic, "EDGEMASK", 8) != 0 || head->version != EDGESEG_MASK_LAYOUT ||
        head->slot_count == 0 || head->slot_size < head->slot_header_size ||
        head->slot_header_size < sizeof(edgeseg_mask) ||
        head->header_size + head->slot_count * head->slot_size > (uint64_t)info.st_size) {
        munmap(base, (size_t)info.st_size);
        return EDGESEG_MASK_LAYOUT_BAD;
    }
    reader->base = (const uint8_t *)base;
    reader->size = (size_t)info.st_size;
    return EDGESEG_MASK_OK;
}

/* Copies the newest whole mask: its stamp to *mask, its width * height class ids to ids. */
static inline int edgeseg_mask_read(
    const edgeseg_mask_reader *reader, edgeseg_mask *mask, uint8_t *ids, size_t capacity) {
    const edgeseg_mask_header *head = edgeseg_mask_head(reader);
    int i;
    for (i = 0; i < EDGESEG_MASK_TRIES; i++) {
        uint64_t newest = __atomic_load_n(&head->newest, __ATOMIC_ACQUIRE);
        const uint8_t *slot;
        const edgeseg_mask *stamp;
        uint64_t before, pixels;
        if (newest == 0) return EDGESEG_MASK_EMPTY;
        slot = reader->base + head->header_size + ((newest - 1) % head->slot_count) * head->slot_size;
        stamp = (const edgeseg_mask *)(const void *)slot;
        before = __atomic_load_n(&stamp->counter, __ATOMIC_ACQUIRE);
        if (before & 1) continue;
        memcpy(mask, stamp, sizeof *mask);
        pixels = (uint64_t)mask->width * mask->height;
        if (pixels <= head->slot_size - head->slot_header_size && pixels <= capacity)
            memcpy(ids, slot + head->slot_header_size, (size_t)pixels);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&stamp->counter, __ATOMIC_RELAXED) != before) continue;
        return pixels <= capacity ? EDGESEG_MASK_OK : EDGESEG_MASK_TOO_SMALL;
    }
    return EDGESEG_MASK_BUSY;
}

/* Nanoseconds since the writer's last sign of life. Large: it hangs, was killed or has ended. */
static inline int64_t edgeseg_mask_heartbeat_age_ns(const edgeseg_mask_reader *reader) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec -
           __atomic_load_n(&edgeseg_mask_head(reader)->heartbeat_ns, __ATOMIC_RELAXED);
}

/* Whether the writer has ended in order, or was replaced: open the segment again. */
static inline int edgeseg_mask_closed(const edgeseg_mask_reader *reader) {
    return __atomic_load_n(&edgeseg_mask_head(reader)->closed, __ATOMIC_RELAXED) != 0;
}

/* The name of a class, or NULL. */
static inline const char *edgeseg_mask_class_name(const edgeseg_mask_reader *reader, uint32_t id) {
    const edgeseg_mask_header *head = edgeseg_mask_head(reader);
    const char *name = (const char *)reader->base + head->names_offset;
    const char *end = name + head->names_size;
    if (id >= head->class_count) return NULL;
    if ((uint64_t)head->names_offset + head->names_size > head->header_size) return NULL;
    while (id-- > 0 && name < end) {
        const char *zero = (const char *)memchr(name, 0, (size_t)(end - name));
        name = zero ? zero + 1 : end;
    }
    return name < end ? name : NULL;
}

static inline void edgeseg_mask_close(edgeseg_mask_reader *reader) {
    if (reader->base) munmap((void *)(uintptr_t)reader->base, reader->size);
    reader->base = NULL;
}

#ifdef __cplusplus
}
#endif
#endif
