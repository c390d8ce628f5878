// The tensors that a pickle of torch.save names: what state_dict() gives, and nothing else.
//
// A pickle is a program, and Python's own reader runs whatever it names. Here the few operations are known
// that tensors, OrderedDict and plain values need (protocols 2 to 5), and all other operations and names are
// refused. Format: Python's pickletools.py; torch/serialization.py and torch/_utils.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace collie {

struct PickledTensor {
  std::string name;
  std::string dtype;  // as safetensors spells it
  int element_bits = 0;
  std::string storage;  // the storage's key; several tensors may share one
  int64_t storage_elements = 0;
  int64_t offset = 0;                   // of its first element in the storage, in elements
  std::vector<int64_t> shape, strides;  // as long as each other; strides in elements, at least 0
};

// The most values that one pickle may build, and the longest that is read, in bytes.
constexpr size_t most_pickled_values = 1'000'000;
constexpr uint64_t longest_pickle = uint64_t{64} << 20;

// The tensors of `pickle`, which must be a dict of names and tensors, in its order. Throws UserError "WHERE,
// byte N: what was found; what would be right". Whether tensors lie within their storages is not checked
// here.
std::vector<PickledTensor> read_pickled_tensors(std::string_view pickle, const std::string& where);

}  // namespace collie
