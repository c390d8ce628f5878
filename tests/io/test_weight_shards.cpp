#include "io/weight_shards.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/paths.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

SafetensorsItem item_of_size(const std::string& name, int64_t elements) {
  return {name, "F32", {elements}, {}};
}

std::vector<size_t> sizes_of(const std::vector<WeightShard>& shards) {
  std::vector<size_t> sizes;
  for (const WeightShard& shard : shards) sizes.push_back(shard.items.size());
  return sizes;
}

}  // namespace

TEST_CASE("weights are divided among files as transformers divides them") {
  const SafetensorsFile model(golden_file("llama_tied/model.safetensors"));
  std::vector<SafetensorsItem> items;
  for (const StoredTensor& tensor : model.tensors())
    items.push_back({tensor.name, tensor.dtype, tensor.shape, {}});
  const json indices = json::parse(read_text_file(golden_file("weights/index.json")));
  CHECK(indices.size() == 3);
  for (const auto& [size, expected] : indices.items()) {
    CAPTURE(size);
    const auto shards = split_weights(items, shard_bytes_of(size, "key"));
    CHECK(weight_index(items, shards) == expected.get<std::string>());
  }
}

TEST_CASE("a tensor that is too large has a file of its own, and one file has no number") {
  const std::vector<SafetensorsItem> items = {item_of_size("b", 2), item_of_size("a.10", 3),
                                              item_of_size("a.9", 100), item_of_size("c", 1)};
  auto shards = split_weights(items, 20);
  // a.9 alone; a.10 and b; c
  CHECK(sizes_of(shards) == std::vector<size_t>{1, 2, 1});
  CHECK(shards[0].items.front() == 2);
  CHECK(shards[0].file == "model-00001-of-00003.safetensors");
  CHECK(shards[1].items == std::vector<size_t>{1, 0});
  shards = split_weights(items, 424);
  CHECK(sizes_of(shards) == std::vector<size_t>{4});
  CHECK(shards[0].items == std::vector<size_t>{0, 1, 2, 3});
  CHECK(shards[0].file == "model.safetensors");
  CHECK(split_weights({item_of_size("a", 100)}, 1).front().file == "model.safetensors");
}

TEST_CASE("sizes are read as Hugging Face writes them") {
  CHECK(shard_bytes_of("50GB", "k") == 50'000'000'000u);
  CHECK(shard_bytes_of("500MB", "k") == 500'000'000u);
  CHECK(shard_bytes_of("1.5 gb", "k") == 1'500'000'000u);
  CHECK(shard_bytes_of("2TB", "k") == 2'000'000'000'000u);
  CHECK(shard_bytes_of("3KB", "k") == 3000u);
  CHECK(shard_bytes_of("5000000", "k") == 5'000'000u);
  for (const char* wrong :
       {"", "GB", "0", "-5GB", "5GiB", "5 G B", "1.5", "5GB5", "1e3MB", "0.0001KB", "9999999TB", "nan"})
    CHECK_THROWS_WITH(
        shard_bytes_of(wrong, "F:3: checkpoint.max_shard_size"),
        contains("F:3: checkpoint.max_shard_size: found '" + std::string(wrong)) && contains("50GB"));
}
