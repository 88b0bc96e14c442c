/* SPDX-License-Identifier: MIT */
#include "worker/memory/ledger.h"

#include <errno.h>
#include <stdlib.h>

void vgpu_ledger_init(struct vgpu_ledger *ledger, struct vgpu_ledger_page *page, uint64_t *charged)
{
    *ledger = (struct vgpu_ledger){.page = page, .charged = charged};
}

void vgpu_ledger_destroy(struct vgpu_ledger *ledger)
{
    free(ledger->table);
    ledger->table = NULL;
    ledger->count = ledger->room = 0;
}

uint64_t vgpu_ledger_quota(const struct vgpu_ledger *ledger)
{
    return __atomic_load_n(&ledger->page->quota, __ATOMIC_RELAXED);
}

uint64_t vgpu_ledger_used(const struct vgpu_ledger *ledger)
{
    return __atomic_load_n(&ledger->page->used, __ATOMIC_RELAXED);
}

bool vgpu_ledger_charge(struct vgpu_ledger *ledger, uint64_t bytes)
{
    uint64_t quota = vgpu_ledger_quota(ledger), used = vgpu_ledger_used(ledger), sum;

    /* An exchange instead of adding and undoing: a refused request must not make the request of
     * another worker fail that would have fitted. Relaxed: it is a sum and orders nothing. */
    do {
        if (__builtin_add_overflow(used, bytes, &sum) || sum > quota)
            return false;
    } while (!__atomic_compare_exchange_n(&ledger->page->used, &used, sum, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    __atomic_fetch_add(ledger->charged, bytes, __ATOMIC_RELAXED);
    return true;
}

void vgpu_ledger_return(struct vgpu_ledger *ledger, uint64_t bytes)
{
    __atomic_fetch_sub(ledger->charged, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&ledger->page->used, bytes, __ATOMIC_RELAXED);
}

static size_t home(const struct vgpu_ledger *ledger, CUdeviceptr address)
{
    return (size_t)(address * 0x9e3779b97f4a7c15ull >> 32) & (ledger->room - 1);
}

static void put(struct vgpu_ledger *ledger, struct vgpu_allocation allocation)
{
    size_t place = home(ledger, allocation.address);
    while (ledger->table[place].address)
        place = (place + 1) & (ledger->room - 1);
    ledger->table[place] = allocation;
    ledger->count++;
}

static int grow(struct vgpu_ledger *ledger)
{
    struct vgpu_ledger larger = *ledger;
    larger.room = ledger->room ? ledger->room * 2 : 64;
    larger.count = 0;
    larger.table = calloc(larger.room, sizeof(*larger.table));
    if (larger.table == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < ledger->room; i++) {
        if (ledger->table[i].address)
            put(&larger, ledger->table[i]);
    }
    free(ledger->table);
    *ledger = larger;
    return 0;
}

int vgpu_ledger_add(struct vgpu_ledger *ledger, CUdeviceptr address, uint64_t bytes,
                    const struct vgpu_context *context)
{
    if ((ledger->count + 1) * 2 > ledger->room && grow(ledger) < 0)
        return -ENOMEM;
    put(ledger, (struct vgpu_allocation){.address = address, .bytes = bytes, .context = context});
    return 0;
}

/* Empties a place, then puts back what follows it and might have been pushed past it. */
static void take(struct vgpu_ledger *ledger, size_t place)
{
    ledger->table[place].address = 0;
    ledger->count--;
    for (size_t i = (place + 1) & (ledger->room - 1); ledger->table[i].address;
         i = (i + 1) & (ledger->room - 1)) {
        struct vgpu_allocation moved = ledger->table[i];
        ledger->table[i].address = 0;
        ledger->count--;
        put(ledger, moved);
    }
}

const struct vgpu_allocation *vgpu_ledger_find(const struct vgpu_ledger *ledger,
                                               CUdeviceptr address)
{
    if (ledger->room == 0 || address == 0)
        return NULL;
    size_t place = home(ledger, address);
    while (ledger->table[place].address != address) {
        if (ledger->table[place].address == 0)
            return NULL;
        place = (place + 1) & (ledger->room - 1);
    }
    return &ledger->table[place];
}

bool vgpu_ledger_remove(struct vgpu_ledger *ledger, CUdeviceptr address)
{
    const struct vgpu_allocation *found = vgpu_ledger_find(ledger, address);
    if (found == NULL)
        return false;
    vgpu_ledger_return(ledger, found->bytes);
    take(ledger, (size_t)(found - ledger->table));
    return true;
}

void vgpu_ledger_remove_context(struct vgpu_ledger *ledger, const struct vgpu_context *context)
{
    bool found;
    do { /* again, because taking one out may move another to a place that was seen */
        found = false;
        for (size_t i = 0; i < ledger->room; i++) {
            while (ledger->table[i].address && ledger->table[i].context == context) {
                vgpu_ledger_return(ledger, ledger->table[i].bytes);
                take(ledger, i);
                found = true;
            }
        }
    } while (found);
}
