/* SPDX-License-Identifier: MIT */
#include "sim/plot.h"

#include <string.h>

#define BANDS      12u
#define WIDTH      760
#define HEIGHT     360
#define LEFT       60
#define RIGHT      600
#define TOP        40
#define BOTTOM     310
#define PER_COLUMN 2u /* samples that are put together, so that single leases do not show */

static const char *const colours[BANDS] = {"#2a6fb0", "#d1722e", "#3f8f4f", "#a0409a",
                                           "#b8a020", "#3aa0a8", "#8a5a3c", "#c74a5a",
                                           "#6a6ad0", "#7aa03a", "#555555", "#aaaaaa"};

static double x_of(uint32_t sample)
{
    return LEFT + (double)sample / VGPU_SIM_SAMPLES * (RIGHT - LEFT);
}

/* Part of the GPU that the VMs before `end` had in the column that ends at `sample`. */
static double height_at(const struct vgpu_sim_outcome *outcome, uint32_t end, uint32_t sample)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < end; i++) {
        const uint64_t *samples = outcome->vms[i].samples;
        used += samples[sample - 1];
        if (sample > PER_COLUMN)
            used -= samples[sample - 1 - PER_COLUMN];
    }
    return (double)used / ((double)outcome->length / VGPU_SIM_SAMPLES * PER_COLUMN);
}

static void draw_edge(const struct vgpu_sim_outcome *outcome, uint32_t end, bool back, FILE *out)
{
    uint32_t columns = VGPU_SIM_SAMPLES / PER_COLUMN;

    for (uint32_t i = 0; i < columns; i++) {
        uint32_t column = back ? columns - i : i + 1, sample = column * PER_COLUMN;
        double part = height_at(outcome, end, sample), y = BOTTOM - part * (BOTTOM - TOP);
        double from = x_of(sample - PER_COLUMN), to = x_of(sample);
        fprintf(out, "%.1f,%.1f %.1f,%.1f ", back ? to : from, y, back ? from : to, y);
    }
}

/* Who has the band `band` of `bands`: from the first to before the end; the last has all others.
 * Of many VMs those of one statement have one band. */
static void find_band(const struct vgpu_sim_scenario *scenario, uint32_t band, uint32_t *first,
                      uint32_t *end)
{
    uint32_t vms = scenario->vm_count;

    *end = 0;
    for (uint32_t i = 0; i <= band; i++) {
        *first = *end;
        *end += vms > BANDS && *first < vms ? scenario->vms[*first].count : 1;
    }
    *first = *first < vms ? *first : vms;
    *end = band + 1 == BANDS || *end > vms ? vms : *end;
}

/* How many VMs, and of what name. */
static void draw_name(const struct vgpu_sim_scenario *scenario, uint32_t first, uint32_t end,
                      FILE *out)
{
    const char *name = scenario->vms[first].name; /* nothing in it means something in XML */

    if (end == first + 1)
        fprintf(out, "%s</text>\n", name);
    else if (end == first + scenario->vms[first].count) /* without the number after the last dash */
        fprintf(out, "%u %.*s</text>\n", end - first, (int)(strrchr(name, '-') - name), name);
    else
        fprintf(out, "%u others</text>\n", end - first);
}

static void draw_band(const struct vgpu_sim_scenario *scenario,
                      const struct vgpu_sim_outcome *outcome, uint32_t band, FILE *out)
{
    uint32_t first, end;
    int row = TOP + 10 + 20 * (int)band;

    find_band(scenario, band, &first, &end);
    if (first == end)
        return;
    fprintf(out, "<polygon fill=\"%s\" points=\"", colours[band]);
    draw_edge(outcome, end, false, out);
    draw_edge(outcome, first, true, out);
    fprintf(out, "\"/>\n<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>\n",
            RIGHT + 16, row, colours[band]);
    fprintf(out, "<text x=\"%d\" y=\"%d\">", RIGHT + 34, row + 10);
    draw_name(scenario, first, end, out);
}

void vgpu_sim_plot(const struct vgpu_sim_scenario *scenario, const struct vgpu_sim_outcome *outcome,
                   FILE *out)
{
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">"
            "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    fprintf(out, "<text x=\"%d\" y=\"24\" font-size=\"15\">Shares of the GPU, %s</text>\n", LEFT,
            scenario->policy->name);
    for (uint32_t i = 0; i < BANDS; i++)
        draw_band(scenario, outcome, i, out);
    for (int part = 0; part <= 4; part++) {
        int y = BOTTOM - part * (BOTTOM - TOP) / 4;
        fprintf(out, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#0003\"/>", LEFT, y,
                RIGHT, y);
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d %%</text>\n", LEFT - 6, y + 4,
                25 * part);
        int x = LEFT + part * (RIGHT - LEFT) / 4;
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%g s</text>\n", x, BOTTOM + 20,
                (double)outcome->length / 1e9 * part / 4);
    }
    fputs("</svg>\n", out);
}
