/* SPDX-License-Identifier: MIT */
#include "worker/graph/graph_names.h"

#include <stdlib.h>

#define ROOM_FIRST 256u

void vgpu_graph_names_destroy(struct vgpu_graph_names *names)
{
    free(names->table);
    *names = (struct vgpu_graph_names){0};
}

static size_t home(const struct vgpu_graph_names *names, const void *object)
{
    /* Fibonacci hashing; objects are aligned, so their lowest bits say nothing. */
    uint64_t hash = ((uint64_t)(uintptr_t)object >> 4) * 0x9e3779b97f4a7c15u;
    return (size_t)(hash >> 20) & (names->room - 1);
}

/* The entry of an object, or the free one where it belongs. */
static size_t position(const struct vgpu_graph_names *names, const void *object)
{
    size_t i = home(names, object);
    while (names->table[i].object && names->table[i].object != object)
        i = (i + 1) & (names->room - 1);
    return i;
}

uint32_t vgpu_graph_names_find(const struct vgpu_graph_names *names, const void *object)
{
    return names->room && object ? names->table[position(names, object)].id : 0;
}

static int grow(struct vgpu_graph_names *names)
{
    struct vgpu_graph_names grown = {.room = names->room ? names->room * 2 : ROOM_FIRST,
                                     .count = names->count};
    grown.table = calloc(grown.room, sizeof(*grown.table));
    if (grown.table == NULL)
        return -1;
    for (size_t i = 0; i < names->room; i++) {
        if (names->table[i].object)
            grown.table[position(&grown, names->table[i].object)] = names->table[i];
    }
    free(names->table);
    *names = grown;
    return 0;
}

void vgpu_graph_names_add(struct vgpu_graph_names *names, const void *object, uint32_t id)
{
    /* At most half full, so that searches are short and end. */
    if (object == NULL || (names->count >= names->room / 2 && grow(names) < 0))
        return;
    struct vgpu_graph_name *entry = &names->table[position(names, object)];
    if (entry->object == NULL)
        names->count++;
    *entry = (struct vgpu_graph_name){object, id};
}

void vgpu_graph_names_remove(struct vgpu_graph_names *names, const void *object)
{
    if (names->room == 0 || object == NULL)
        return;
    size_t hole = position(names, object);
    if (names->table[hole].object == NULL)
        return;
    names->count--;
    /* What follows in the same run moves up where its search would end at the hole. */
    for (size_t i = (hole + 1) & (names->room - 1); names->table[i].object;
         i = (i + 1) & (names->room - 1)) {
        size_t wanted = home(names, names->table[i].object);
        if (((i - wanted) & (names->room - 1)) >= ((i - hole) & (names->room - 1))) {
            names->table[hole] = names->table[i];
            hole = i;
        }
    }
    names->table[hole] = (struct vgpu_graph_name){0};
}
