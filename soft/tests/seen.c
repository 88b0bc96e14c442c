/* SPDX-License-Identifier: MIT */
#include "soft/tests/harness.h"

void note_text(const char *text)
{
    const char *name = getenv("PTX_SEEN");
    FILE *file = name != NULL ? fopen(name, "a") : NULL;

    if (file == NULL)
        return;
    fprintf(file, "%s\n", text);
    fclose(file);
}
