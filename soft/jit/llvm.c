/* SPDX-License-Identifier: MIT */
#include "soft/jit/llvm.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The functions of LLVM's C interface that are used, as its headers declare them, with void * for
 * each of its types: so nothing of LLVM is needed to build.
 */
#define FUNCTIONS(X)                                                                               \
    X(void, LLVMInitializeX86TargetInfo, (void))                                                   \
    X(void, LLVMInitializeX86Target, (void))                                                       \
    X(void, LLVMInitializeX86TargetMC, (void))                                                     \
    X(void, LLVMInitializeX86AsmPrinter, (void))                                                   \
    X(void, LLVMLinkInMCJIT, (void))                                                               \
    X(void *, LLVMContextCreate, (void))                                                           \
    X(void, LLVMContextDispose, (void *context))                                                   \
    X(void *, LLVMCreateMemoryBufferWithMemoryRangeCopy,                                           \
      (const char *text, size_t length, const char *name))                                         \
    X(int, LLVMParseIRInContext, (void *context, void *buffer, void **module, char **message))     \
    X(void, LLVMDisposeMessage, (char *message))                                                   \
    X(void, LLVMDisposeModule, (void *module))                                                     \
    X(void, LLVMInitializeMCJITCompilerOptions, (void *options, size_t size))                      \
    X(int, LLVMCreateMCJITCompilerForModule,                                                       \
      (void **engine, void *module, void *options, size_t size, char **message))                   \
    X(void *, LLVMGetExecutionEngineTargetMachine, (void *engine))                                 \
    X(void, LLVMDisposeExecutionEngine, (void *engine))                                            \
    X(uint64_t, LLVMGetFunctionAddress, (void *engine, const char *name))                          \
    X(void *, LLVMCreatePassBuilderOptions, (void))                                                \
    X(void, LLVMDisposePassBuilderOptions, (void *options))                                        \
    X(void *, LLVMRunPasses, (void *module, const char *passes, void *machine, void *options))     \
    X(char *, LLVMGetErrorMessage, (void *error))                                                  \
    X(void, LLVMDisposeErrorMessage, (char *message))

#define MEMBER(result, name, parameters) result(*name) parameters;

/* The one library of the process. */
static struct {
    pthread_once_t once;
    pthread_mutex_t lock; /* of compilation, and of the end of the process */
    bool loaded, opaque;
    struct {
        FUNCTIONS(MEMBER)
    } f;
} llvm = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

/* struct LLVMMCJITCompilerOptions, whose size the library is told. */
struct options {
    unsigned level;
    int code_model, no_frame_pointer_elimination, fast_selection;
    void *memory;
};

/* Code and its constants may come to lie far apart, in a process with large reservations. */
enum { CODE_MODEL_LARGE = 6 };

struct jit_machine {
    void *context, *engine;
};

/* Newest first; what they are called has changed on the way. */
static const char *const names[] = {"libLLVM.so.19.1", "libLLVM.so.18.1", "libLLVM-17.so.1",
                                    "libLLVM-16.so.1", "libLLVM-15.so.1", "libLLVM-14.so.1"};

static void *open_library(void)
{
    const char *own = getenv("VGPU_SOFT_LLVM");
    void *library = NULL;

    if (own != NULL && *own != '\0')
        return dlopen(own, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && library == NULL; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

/* Waits for a compilation that is under way, and lets no other begin: the library takes itself
   apart after this. */
static void wait_for_compilation(void)
{
    pthread_mutex_lock(&llvm.lock);
}

#define FIND(result, name, parameters)                                                             \
    *(void **)&llvm.f.name = dlsym(library, #name);                                                \
    good = good && llvm.f.name != NULL;

static void load(void)
{
    void (*version)(unsigned *, unsigned *, unsigned *);
    unsigned major = 0, minor, patch;
    void *library = open_library();
    bool good = library != NULL;

    if (!good)
        return;
    FUNCTIONS(FIND)
    if (!good) {
        dlclose(library);
        return;
    }
    /* Versions without this function have pointers with types. */
    *(void **)&version = dlsym(library, "LLVMGetVersion");
    if (version != NULL)
        version(&major, &minor, &patch);
    llvm.opaque = major >= 16;
    llvm.f.LLVMInitializeX86TargetInfo();
    llvm.f.LLVMInitializeX86Target();
    llvm.f.LLVMInitializeX86TargetMC();
    llvm.f.LLVMInitializeX86AsmPrinter();
    llvm.f.LLVMLinkInMCJIT();
    llvm.loaded = atexit(wait_for_compilation) == 0;
}

bool jit_llvm_load(void)
{
    pthread_once(&llvm.once, load);
    return llvm.loaded;
}

bool jit_llvm_is_opaque(void)
{
    return llvm.opaque;
}

/* What makes values of places, takes out what is computed twice, and moves what does not change out
   of loops: the text is written so that this is enough. */
static const char passes[] = "function(sroa,early-cse<memssa>,instcombine,simplifycfg,"
                             "loop-mssa(licm),gvn,instcombine,simplifycfg,adce)";

static bool optimise(void *module, void *engine, char *log, size_t log_size)
{
    void *options = llvm.f.LLVMCreatePassBuilderOptions();
    void *error = llvm.f.LLVMRunPasses(module, passes,
                                       llvm.f.LLVMGetExecutionEngineTargetMachine(engine), options);
    char *message;

    llvm.f.LLVMDisposePassBuilderOptions(options);
    if (error == NULL)
        return true;
    message = llvm.f.LLVMGetErrorMessage(error);
    snprintf(log, log_size, "%s", message);
    llvm.f.LLVMDisposeErrorMessage(message);
    return false;
}

static void take_message(char *message, char *log, size_t log_size)
{
    if (message == NULL)
        return;
    snprintf(log, log_size, "%s", message);
    llvm.f.LLVMDisposeMessage(message);
}

static bool compile(struct jit_machine *m, const char *text, void **function, char *log,
                    size_t log_size)
{
    struct options options;
    char *message = NULL;
    void *module, *buffer;

    buffer = llvm.f.LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "kernel");
    if (llvm.f.LLVMParseIRInContext(m->context, buffer, &module, &message) != 0) {
        take_message(message, log, log_size);
        return false;
    }
    llvm.f.LLVMInitializeMCJITCompilerOptions(&options, sizeof(options));
    options.level = 2;
    options.code_model = CODE_MODEL_LARGE;
    if (llvm.f.LLVMCreateMCJITCompilerForModule(&m->engine, module, &options, sizeof(options),
                                                &message) != 0) {
        take_message(message, log, log_size);
        m->engine = NULL;
        llvm.f.LLVMDisposeModule(module);
        return false;
    }
    if (!optimise(module, m->engine, log, log_size))
        return false;
    *function = (void *)(uintptr_t)llvm.f.LLVMGetFunctionAddress(m->engine, "kernel");
    return *function != NULL;
}

struct jit_machine *jit_llvm_compile(const char *text, void **function, char *log, size_t log_size)
{
    struct jit_machine *m = calloc(1, sizeof(*m));
    bool good;

    snprintf(log, log_size, "out of memory");
    if (m == NULL)
        return NULL;
    pthread_mutex_lock(&llvm.lock);
    m->context = llvm.f.LLVMContextCreate();
    good = compile(m, text, function, log, log_size);
    pthread_mutex_unlock(&llvm.lock);
    if (good)
        return m;
    jit_llvm_free(m);
    return NULL;
}

void jit_llvm_free(struct jit_machine *m)
{
    if (m == NULL)
        return;
    if (m->engine != NULL)
        llvm.f.LLVMDisposeExecutionEngine(m->engine);
    llvm.f.LLVMContextDispose(m->context);
    free(m);
}
