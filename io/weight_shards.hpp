// How the weights of a model folder are divided among files, and the index of these files: as transformers
// does it (huggingface_hub's split_state_dict_into_shards_factory).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/safetensors.hpp"

namespace collie {

// The bytes of "50GB", "500MB", "1.5 GB" or "5000000"; units are TB, GB, MB and KB, powers of 1,000. Throws
// UserError "PLACE: found ...; ... is wanted".
uint64_t shard_bytes_of(const std::string& size, const std::string& place);

struct WeightShard {
  std::string file;           // model.safetensors, or model-00001-of-00003.safetensors
  std::vector<size_t> items;  // in order
};

// By name, numbers by value (layer 9 before layer 10), a file is full when the next tensor would make it
// larger than `most` bytes of tensors. A larger tensor has a file of its own. Where all have room in one
// file, the items' order stays. (transformers goes by its modules' names, which are those of the files but
// for GPT-NeoX's head.)
std::vector<WeightShard> split_weights(const std::vector<SafetensorsItem>& items, uint64_t most);

// The text of model.safetensors.index.json.
constexpr const char* weight_index_name = "model.safetensors.index.json";
std::string weight_index(const std::vector<SafetensorsItem>& items, const std::vector<WeightShard>& shards);

}  // namespace collie
