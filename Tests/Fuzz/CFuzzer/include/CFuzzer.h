// What libFuzzer offers to a mutator (compiler-rt, `FuzzerInterface.h`).
#pragma once
#include <stddef.h>
#include <stdint.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t longest);
