// Threads that take turns on one real thread: a fiber has a stack of its own, runs from `fiber_enter` to
// `fiber_leave`, and goes on from there with the next `fiber_enter`.
#pragma once

#include <stddef.h>

struct fiber;

// A fiber that will run body(argument); NULL without memory for its stack.
struct fiber *fiber_make(size_t stack_size, void (*body)(void *), void *argument);
// Runs it until it leaves or ends. Returns whether it has ended.
int fiber_enter(struct fiber *fiber);
// Called on the fiber: gives the turn back to whoever entered it.
void fiber_leave(struct fiber *fiber);
// Only when it has ended.
void fiber_free(struct fiber *fiber);
