// ucontext(3) with a guard page below each stack.
#include "CFibers.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

struct fiber {
  ucontext_t here, back;
  char *stack;
  size_t size;
  void (*body)(void *);
  void *argument;
  int has_ended;
};

enum { GUARD = 4096 };

static void run(unsigned low, unsigned high) {
  struct fiber *fiber = (struct fiber *)((uintptr_t)low | (uintptr_t)high << 32);
  fiber->body(fiber->argument);
  fiber->has_ended = 1;
  swapcontext(&fiber->here, &fiber->back);
}

struct fiber *fiber_make(size_t stack_size, void (*body)(void *), void *argument) {
  struct fiber *fiber = calloc(1, sizeof *fiber);
  if (!fiber) return NULL;
  fiber->size = stack_size + GUARD;
  fiber->stack = mmap(NULL, fiber->size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (fiber->stack == MAP_FAILED) {
    free(fiber);
    return NULL;
  }
  mprotect(fiber->stack, GUARD, PROT_NONE);
  fiber->body = body;
  fiber->argument = argument;
  getcontext(&fiber->here);
  fiber->here.uc_stack.ss_sp = fiber->stack + GUARD;
  fiber->here.uc_stack.ss_size = stack_size;
  fiber->here.uc_link = &fiber->back;
  uintptr_t address = (uintptr_t)fiber;
  makecontext(&fiber->here, (void (*)(void))run, 2, (unsigned)address, (unsigned)(address >> 32));
  return fiber;
}

int fiber_enter(struct fiber *fiber) {
  swapcontext(&fiber->back, &fiber->here);
  return fiber->has_ended;
}

void fiber_leave(struct fiber *fiber) { swapcontext(&fiber->here, &fiber->back); }

void fiber_free(struct fiber *fiber) {
  munmap(fiber->stack, fiber->size);
  free(fiber);
}
