/* SPDX-License-Identifier: MIT */
/* User objects: the destructor runs when the last reference is gone. */
#include <stdatomic.h>
#include <time.h>

#include "tests/driver_api/check.h"

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void CUDA_CB add_one(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

static void expect_destroyed(atomic_int *destroyed)
{
    for (int i = 0; i < 5000 && !atomic_load(destroyed); i++)
        nap();
    EXPECT(atomic_load(destroyed) == 1);
}

int main(void)
{
    atomic_int destroyed = 0;
    CUuserObject object;
    check_context();
    EXPECT(cuUserObjectCreate(&object, &destroyed, add_one, 1, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuUserObjectCreate(&object, &destroyed, add_one, 0, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuUserObjectCreate(&object, &destroyed, NULL, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) ==
           CUDA_ERROR_INVALID_VALUE);
    for (int i = 0; i < 20; i++) {
        atomic_store(&destroyed, 0);
        CHECK(
            cuUserObjectCreate(&object, &destroyed, add_one, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
        CHECK(cuUserObjectRetain(object, 3));
        CHECK(cuUserObjectRelease(object, 2));
        CHECK(cuCtxSynchronize());
        EXPECT(atomic_load(&destroyed) == 0);
        CHECK(cuUserObjectRelease(object, 2));
        expect_destroyed(&destroyed);
    }
    return 0;
}
