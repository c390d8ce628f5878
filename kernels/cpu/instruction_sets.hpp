// Which vector instructions the kernels use: chosen at run time, the best the processor has.
#pragma once

#include <string>
#include <vector>

namespace collie::cpu {

// Those compiled in that this processor has, best first: "AVX3" (AVX-512), "AVX2", "SSE2", ...
std::vector<std::string> instruction_sets();

// Makes every kernel use this one from now on (tests, comparisons); "" returns to the best. Not thread-safe.
void use_instruction_set(const std::string& name);

}  // namespace collie::cpu
