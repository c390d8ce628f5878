// The vector instructions that the kernels use. The best set that the processor has is chosen at run time.
#pragma once

#include <string>
#include <vector>

namespace collie::cpu {

// The compiled-in instruction sets that this processor has, best first: "AVX3" (AVX-512), "AVX2", "SSE2", ...
std::vector<std::string> instruction_sets();

// Makes every kernel use this set from now on (tests, comparisons); "" returns to the best. Not thread-safe.
void use_instruction_set(const std::string& name);

}  // namespace collie::cpu
