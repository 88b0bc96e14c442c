# SPDX-License-Identifier: MIT
"""calls.h and calls.c: ids, names and kinds of handle, and the protocol hash."""
from generator.description import BANNER, KINDS


def header(calls, value):
    lines = [BANNER, "#ifndef VGPU_PROTOCOL_CALLS_H\n#define VGPU_PROTOCOL_CALLS_H\n",
             "#include <stdint.h>\n",
             f"#define VGPU_PROTOCOL_HASH 0x{value}ull\n",
             "enum vgpu_call {"]
    lines += [f"    VGPU_CALL_{c.name} = {c.id}," for c in calls]
    lines += ["};\n", f"#define VGPU_CALL_MAX {max(c.id for c in calls)}u\n",
              "/** Kinds of handle; ids of one channel share one space, whatever their kind. */",
              "enum vgpu_kind {\n    VGPU_KIND_NONE,"]
    lines += [f"    VGPU_KIND_{k.upper()}," for k in KINDS]
    lines += ["};\n",
              "/** Handle ids below this are fixed: stream 0 and 1 are the legacy default stream. "
              "*/",
              "#define VGPU_HANDLE_FIRST 16u",
              "#define VGPU_HANDLE_MAX (1u << 20)\n",
              "/** Name of a call, or NULL if there is none with this id. */",
              "const char *vgpu_call_name(uint32_t call);\n", "#endif\n"]
    return "\n".join(lines)


def source(calls):
    lines = [BANNER, '#include "protocol/calls.h"\n\n#include <stddef.h>\n',
             "static const char *const names[VGPU_CALL_MAX + 1] = {"]
    lines += [f'    [{c.id}] = "{c.name}",' for c in calls]
    lines += ["};\n", "const char *vgpu_call_name(uint32_t call)\n{",
              "    return call <= VGPU_CALL_MAX ? names[call] : NULL;\n}\n"]
    return "\n".join(lines)
