// Computes a graph of cuDNN's operations one after another in double, as NVIDIA's documentation says what
// they do: to see that a graph says what is meant.
#pragma once

#include "tests/cudnn/stand_in.hpp"

namespace collie::test {

// group: heads that share a key head. Tensors of all heads of keys have their documents at the offsets that
// they are given, times group.
void interpret(const stand_in::Description& graph, const std::map<int64_t, void*>& given, int64_t group);

}  // namespace collie::test
