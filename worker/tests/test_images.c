/* SPDX-License-Identifier: MIT */
/* The host's cache of images: found by hash, never believed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/hash.h"
#include "protocol/jit.h"
#include "worker/tests/fixture.h"

static const char image[] = ".version 6.4 of a program that is kept";

struct cache {
    struct vgpu_channel *channel;
    struct vgpu_image_hash hash; /* of `image` without its NUL */
    char folder[64], path[160];
};

static void open_cache(struct cache *cache)
{
    char name[VGPU_IMAGE_HASH_TEXT];
    strcpy(cache->folder, "/tmp/vgpu-images-XXXXXX");
    assert_non_null(mkdtemp(cache->folder));
    cache->channel = fixture_open_context();
    cache->channel->worker.images.folder = open(cache->folder, O_PATH | O_DIRECTORY);
    cache->channel->page.images.room = 1 << 20;
    vgpu_image_hash(image, strlen(image), &cache->hash);
    vgpu_image_hash_text(&cache->hash, name);
    snprintf(cache->path, sizeof(cache->path), "%s/%s", cache->folder, name);
}

static void close_cache(struct cache *cache)
{
    close(cache->channel->worker.images.folder);
    fixture_close(cache->channel);
    unlink(cache->path);
    assert_int_equal(rmdir(cache->folder), 0); /* and so nothing else was left there */
}

static CUresult ask(struct cache *cache)
{
    CUresult error = vgpu_send_cuModuleLoadData(cache->channel, CONTEXT, MODULE, &cache->hash,
                                                sizeof(cache->hash), NULL, 0, NULL, 0, NULL);
    if (error == CUDA_SUCCESS)
        assert_int_equal(vgpu_send_cuModuleUnload(cache->channel, CONTEXT, MODULE), 0);
    return error;
}

static CUresult upload(struct cache *cache, const char *text)
{
    memcpy(fixture_staging(cache->channel), text, strlen(text));
    assert_int_equal(vgpu_send_vgpuImageAppend(cache->channel, 0, 0, (uint32_t)strlen(text), 1), 0);
    return ask(cache);
}

static void put_file(struct cache *cache, const char *text)
{
    FILE *file = fopen(cache->path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool is_there(const struct cache *cache)
{
    return access(cache->path, F_OK) == 0;
}

static void what_one_has_uploaded_the_next_only_names(void **state)
{
    struct cache cache;
    (void)state;
    open_cache(&cache);
    assert_int_equal(ask(&cache), VGPU_IMAGE_MISSING);
    assert_int_equal(upload(&cache, image), CUDA_SUCCESS);
    assert_true(is_there(&cache));
    assert_int_equal(ask(&cache), CUDA_SUCCESS);
    assert_int_equal(fake.loads, 2);
    assert_int_equal(cache.channel->page.images.stored, 1);
    assert_int_equal(cache.channel->page.images.found, 1);
    assert_int_equal(cache.channel->page.images.missed, 1);
    close_cache(&cache);
}

static void an_upload_that_is_not_what_it_is_called_is_refused(void **state)
{
    struct cache cache;
    (void)state;
    open_cache(&cache);
    assert_int_equal(upload(&cache, ".version something else"), CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(cache.channel->page.images.mismatched, 1);
    assert_int_equal(fake.loads, 0);
    assert_false(is_there(&cache));
    assert_int_equal(ask(&cache), VGPU_IMAGE_MISSING); /* and nothing of it is left */
    close_cache(&cache);
}

static void a_poisoned_file_is_deleted_and_asked_for_again(void **state)
{
    struct cache cache;
    char cut[sizeof(image)];
    (void)state;
    open_cache(&cache);
    strcpy(cut, image);
    cut[sizeof(image) - 5] = 0;
    const char *const contents[] = {".version poison", "", cut};
    for (unsigned int i = 0; i < 3; i++) {
        put_file(&cache, contents[i]);
        assert_int_equal(ask(&cache), VGPU_IMAGE_MISSING);
        assert_false(is_there(&cache));
        assert_int_equal(cache.channel->page.images.poisoned, i + 1);
    }
    assert_int_equal(fake.loads, 0);
    assert_int_equal(upload(&cache, image), CUDA_SUCCESS);
    assert_int_equal(ask(&cache), CUDA_SUCCESS);
    close_cache(&cache);
}

static void only_files_are_read(void **state)
{
    struct cache cache;
    (void)state;
    open_cache(&cache);
    assert_int_equal(mkfifo(cache.path, 0600), 0); /* would be waited for */
    assert_int_equal(ask(&cache), VGPU_IMAGE_MISSING);
    assert_int_equal(symlink("/dev/zero", cache.path), 0); /* has no end */
    assert_int_equal(ask(&cache), VGPU_IMAGE_MISSING);
    assert_int_equal(unlink(cache.path), 0);
    close_cache(&cache);
}

static void a_worker_stores_no_more_than_it_may(void **state)
{
    struct cache cache;
    (void)state;
    open_cache(&cache);
    cache.channel->page.images.room = strlen(image) - 1;
    assert_int_equal(upload(&cache, image), CUDA_SUCCESS); /* it runs all the same */
    assert_false(is_there(&cache));
    cache.channel->page.images.room = strlen(image);
    assert_int_equal(upload(&cache, image), CUDA_SUCCESS);
    assert_true(is_there(&cache));
    assert_int_equal(cache.channel->page.images.room, 0);
    close_cache(&cache);
}

static void what_the_driver_refuses_is_not_kept(void **state)
{
    struct cache cache;
    (void)state;
    open_cache(&cache);
    fake.fail_next = CUDA_ERROR_INVALID_PTX;
    assert_int_equal(upload(&cache, image), CUDA_ERROR_INVALID_PTX);
    assert_false(is_there(&cache));
    close_cache(&cache);
}

static void without_a_cache_all_is_uploaded(void **state)
{
    struct cache cache;
    (void)state;
    open_cache(&cache);
    int folder = cache.channel->worker.images.folder;
    cache.channel->worker.images.folder = -1;
    assert_int_equal(ask(&cache), VGPU_IMAGE_MISSING);
    assert_int_equal(upload(&cache, image), CUDA_SUCCESS);
    assert_false(is_there(&cache));
    cache.channel->worker.images.folder = folder;
    close_cache(&cache);
}

static void a_hash_of_another_length_is_garbage(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();
    (void)state;
    vgpu_send_cuModuleLoadData(channel, CONTEXT, MODULE, image, 31, NULL, 0, NULL, 0, NULL);
    assert_true(channel->garbage);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_has_uploaded_the_next_only_names),
        cmocka_unit_test(an_upload_that_is_not_what_it_is_called_is_refused),
        cmocka_unit_test(a_poisoned_file_is_deleted_and_asked_for_again),
        cmocka_unit_test(only_files_are_read),
        cmocka_unit_test(a_worker_stores_no_more_than_it_may),
        cmocka_unit_test(what_the_driver_refuses_is_not_kept),
        cmocka_unit_test(without_a_cache_all_is_uploaded),
        cmocka_unit_test(a_hash_of_another_length_is_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
