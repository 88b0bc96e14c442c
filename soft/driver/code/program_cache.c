/* SPDX-License-Identifier: MIT */
#include "soft/driver/code/program_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct entry {
    struct entry *next; /* the one that was used last comes first */
    struct vgpu_program *program;
    size_t bytes; /* of text */
    unsigned int references;
    bool checked;
};

/* The one cache of the process. */
static struct {
    pthread_mutex_t lock;
    struct entry *first;
    size_t idle_bytes; /* of text, of programs that nobody uses */
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Takes an entry out of the list that `link` points to. Lock held. */
static struct entry *unlink_at(struct entry **link)
{
    struct entry *entry = *link;

    *link = entry->next;
    return entry;
}

/* Lock held. */
static void insert_first(struct entry *entry)
{
    entry->next = cache.first;
    cache.first = entry;
}

/* A reference to the entry of these texts, or NULL. Lock held. */
static struct entry *find(const struct vgpu_text *texts, uint32_t count)
{
    for (struct entry **link = &cache.first; *link != NULL; link = &(*link)->next) {
        if (vgpu_program_is_of((*link)->program, texts, count)) {
            struct entry *entry = unlink_at(link);

            insert_first(entry);
            if (entry->references++ == 0)
                cache.idle_bytes -= entry->bytes;
            return entry;
        }
    }
    return NULL;
}

/* The entry that has gone unused for longest, out of the list; NULL if there is none. Lock held. */
static struct entry *take_stalest(void)
{
    struct entry **stalest = NULL;

    for (struct entry **link = &cache.first; *link != NULL; link = &(*link)->next) {
        if ((*link)->references == 0)
            stalest = link;
    }
    return stalest != NULL ? unlink_at(stalest) : NULL;
}

static void destroy(struct entry *entry)
{
    vgpu_program_destroy(entry->program);
    free(entry);
}

static int create(const struct vgpu_text *texts, uint32_t count, char *log, size_t log_size,
                  struct entry **out)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    int error;

    if (entry == NULL)
        return -ENOMEM;
    entry->references = 1;
    for (uint32_t i = 0; i < count; i++)
        entry->bytes += texts[i].length;
    error = vgpu_program_link(texts, count, log, log_size, &entry->program);
    if (error != 0) {
        free(entry);
        return error;
    }
    *out = entry;
    return 0;
}

/* The entry, found or made; who finds that another thread has made it, too, takes the other's. */
static int take(const struct vgpu_text *texts, uint32_t count, char *log, size_t log_size,
                struct entry **out)
{
    struct entry *made;
    int error;

    pthread_mutex_lock(&cache.lock);
    *out = find(texts, count);
    pthread_mutex_unlock(&cache.lock);
    if (*out != NULL)
        return 0;
    error = create(texts, count, log, log_size, &made);
    if (error != 0)
        return error;
    pthread_mutex_lock(&cache.lock);
    *out = find(texts, count);
    if (*out == NULL) {
        insert_first(made);
        *out = made;
        made = NULL;
    }
    pthread_mutex_unlock(&cache.lock);
    if (made != NULL)
        destroy(made);
    return 0;
}

int vgpu_program_cache_take(const struct vgpu_text *texts, uint32_t count, bool check, char *log,
                            size_t log_size, struct vgpu_program **program)
{
    struct entry *entry;
    bool checked;
    int error;

    if (log_size > 0)
        log[0] = '\0';
    error = take(texts, count, log, log_size, &entry);
    if (error != 0)
        return error;
    pthread_mutex_lock(&cache.lock);
    checked = entry->checked || !check;
    pthread_mutex_unlock(&cache.lock);
    if (!checked) {
        error = vgpu_program_check(entry->program, log, log_size);
        if (error != 0) {
            vgpu_program_cache_put(entry->program);
            return error;
        }
        pthread_mutex_lock(&cache.lock);
        entry->checked = true;
        pthread_mutex_unlock(&cache.lock);
    }
    *program = entry->program;
    return 0;
}

void vgpu_program_cache_put(struct vgpu_program *program)
{
    struct entry *entry, *gone = NULL;

    pthread_mutex_lock(&cache.lock);
    for (entry = cache.first; entry->program != program; entry = entry->next)
        ;
    if (--entry->references == 0)
        cache.idle_bytes += entry->bytes;
    while (cache.idle_bytes > VGPU_PROGRAM_CACHE_BYTES) {
        struct entry *stalest = take_stalest();

        cache.idle_bytes -= stalest->bytes;
        stalest->next = gone;
        gone = stalest;
    }
    pthread_mutex_unlock(&cache.lock);
    while (gone != NULL) {
        struct entry *next = gone->next;

        destroy(gone);
        gone = next;
    }
}
