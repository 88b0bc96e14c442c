/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "soft/ptx/parser.h"
#include "soft/simt/simt.h"

size_t vgpu_program_source(const struct vgpu_program *program, uint32_t function, uint32_t line,
                           char *out, size_t size)
{
    const struct ptx_parser *p = program->parser;
    uint32_t owner =
        function < program->module->function_count ? p->heads[function].owner : p->text_count;
    const char *at, *end, *next;
    size_t length;

    if (size == 0 || owner == 0 || owner > p->text_count)
        return 0;
    at = p->texts[owner - 1].text;
    end = at + p->texts[owner - 1].length;
    for (; line > 1; line--) {
        next = memchr(at, '\n', (size_t)(end - at));
        if (next == NULL)
            return 0;
        at = next + 1;
    }
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    length = strcspn(at, "\r\n");
    if (length > (size_t)(end - at))
        length = (size_t)(end - at);
    if (length > size - 1)
        length = size - 1;
    memcpy(out, at, length);
    out[length] = '\0';
    return length;
}

bool vgpu_program_is_of(const struct vgpu_program *program, const struct vgpu_text *texts,
                        uint32_t count)
{
    const struct ptx_parser *p = program->parser;

    if (p->text_count != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (p->texts[i].length != texts[i].length)
            return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(p->texts[i].text, texts[i].text, texts[i].length) != 0)
            return false;
    }
    return true;
}
