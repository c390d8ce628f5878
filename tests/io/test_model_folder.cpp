#include "io/model_folder.hpp"

#include <bit>
#include <fstream>
#include <numeric>

#include "base/error.hpp"
#include "io/checkpoint_files.hpp"
#include "io/files.hpp"
#include "io/half.hpp"
#include "io/run_marker.hpp"
#include "io/weight_folder.hpp"
#include "io/weight_shards.hpp"
#include "kernels/host_data.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/memory_checkpoints.hpp"
#include "tests/io/peak_memory.hpp"
#include "tests/io/temporary_folder.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

const std::string run_of_test(32, 'a');

Tensor counted(const Shape& shape, float first) {
  Tensor x = Tensor::host(shape, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
  std::iota(x.data<float>(), x.data<float>() + x.numel(), first);
  return x;
}

// Two tensors [4, 3] in two slices each, and a third of one value.
Checkpoint some_weights(float value = 0.1f) {
  std::vector<CheckpointSlice> slices;
  for (const char* name : {"a", "b"})
    for (const int64_t row : {0, 2})
      slices.push_back(
          {name, "weight", {4, 3}, {row, 0}, counted({2, 3}, static_cast<float>(row * 3) + *name)});
  slices.push_back({"c", "weight", {1}, {0}, counted({1}, value)});
  return Checkpoint(std::make_shared<const MemoryCheckpoint>(7, json::object(), slices));
}

void write_final(const std::string& folder, const std::string& dtype, const Checkpoint& checkpoint,
                 uint64_t most_bytes) {
  write_model_folder(folder, run_of_test, {{"dtype", dtype}}, *byte_tokenizer(), {"a", "b", "c"}, checkpoint,
                     most_bytes);
}

std::vector<float> read_values(const WeightFolder& folder, const std::string& name) {
  const WeightFolder::Place& place = folder.find(name);
  std::vector<float> values(static_cast<size_t>(place.tensor->elements));
  TensorReader(*place.file, *place.tensor).read(0, values);
  return values;
}

}  // namespace

TEST_CASE("final weights are written in the dtype that is asked for, in one file or several") {
  const TemporaryFolder folder;
  const std::string final_folder = (folder / "final").string();
  const auto round = [](const std::string& dtype, float value) {
    if (dtype == "float16") return float_from_half(half_from_float(value));
    return dtype == "bfloat16" ? host::from_bf16(host::to_bf16(value)) : value;
  };
  // The second run over the same folder replaces the first's files.
  for (const uint64_t most : {uint64_t{1000}, uint64_t{48}, uint64_t{1000}})
    for (const auto& [dtype, in_file] :
         {std::pair("float32", "F32"), std::pair("bfloat16", "BF16"), std::pair("float16", "F16")}) {
      CAPTURE(most, dtype);
      write_final(final_folder, dtype, some_weights(), most);
      const WeightFolder written(final_folder);
      const bool is_sharded = most == 48;
      CHECK(written.path().filename() == (is_sharded ? weight_index_name : "model.safetensors"));
      CHECK(std::filesystem::exists(folder / "final" / "model.safetensors") == !is_sharded);
      CHECK(std::filesystem::exists(folder / "final" / weight_index_name) == is_sharded);
      CHECK(written.tensors().size() == 3);
      for (const auto& [name, place] : written.tensors()) CHECK(place.tensor->dtype == in_file);
      const std::vector<float> found = read_values(written, "b");
      for (size_t i = 0; i < 12; ++i) CHECK(found[i] == round(dtype, static_cast<float>(i) + 'b'));
      CHECK(read_values(written, "c").front() == round(dtype, 0.1f));
      CHECK(step_of_model_folder(final_folder) == 7);
    }
}

TEST_CASE("a file in a folder of final/ is the run's, and is gone with it unless it was changed") {
  const TemporaryFolder root;
  const std::string final_folder = (root / "final").string(), nested = "more/tool_use.jinja";
  const auto write = [&](const std::map<std::string, std::string>& others) {
    write_model_folder(final_folder, run_of_test, {{"dtype", "float32"}}, *byte_tokenizer(), {"a", "b", "c"},
                       some_weights(), 1 << 20, others);
  };
  write({{nested, "one"}, {"more/other.jinja", "two"}});
  CHECK(read_text_file(final_folder + "/" + nested) == "one");
  CHECK(find_marker(final_folder)->files->count(nested) == 1);
  write({});  // in its place
  CHECK_FALSE(entry_exists(final_folder + "/more"));

  write({{nested, "one"}});
  std::ofstream(final_folder + "/" + nested) << "the user's";
  write({});
  CHECK(read_text_file(final_folder + "/" + nested) == "the user's");

  // What a link leads to is not the run's, whatever the marker names.
  const TemporaryFolder elsewhere;
  elsewhere.write("a.jinja", "mine");
  write({{"link/a.jinja", "mine"}});
  std::filesystem::remove_all(final_folder + "/link");
  std::filesystem::create_directory_symlink(elsewhere.path(), final_folder + "/link");
  write({});
  CHECK(read_text_file((elsewhere / "a.jinja").string()) == "mine");
}

TEST_CASE("a final folder that lacks one of its files is of no step") {
  const TemporaryFolder folder;
  const std::string final_folder = (folder / "final").string();
  write_final(final_folder, "float32", some_weights(), 48);
  CHECK(step_of_model_folder(final_folder) == 7);
  std::filesystem::remove(folder / "final" / "model-00002-of-00003.safetensors");
  CHECK_FALSE(step_of_model_folder(final_folder).has_value());
}

TEST_CASE("a weight that float16 cannot hold ends the writing, and nothing is left") {
  const TemporaryFolder folder;
  const std::string final_folder = (folder / "final").string();
  CHECK_THROWS_AS(write_final(final_folder, "float16", some_weights(70000), 1000), RunError);
  CHECK_THROWS_WITH(write_final(final_folder, "float16", some_weights(70000), 1000),
                    contains("c holds 70000") && contains("65504") && contains("model.save_dtype"));
  CHECK(std::filesystem::is_empty(folder.path()));
  write_final(final_folder, "float16", some_weights(INFINITY), 1000);  // it is no worse than it was
}

TEST_CASE("a process that writes final/", "[writes-final]") {
  if (folder_of_child().empty()) return;
  const Checkpoint small = some_weights();
  write_final((folder_of_child() / "small").string(), "float16", small, 1000);  // what code and threads take
  const int64_t before = peak_memory_kib();
  const std::string path = (folder_of_child() / "checkpoints" / "step-00000003").string();
  std::vector<std::string> names;
  for (int i = 0; i < 24; ++i) names.push_back("w" + std::to_string(i));
  write_model_folder((folder_of_child() / "final").string(), run_of_test, {{"dtype", "float16"}},
                     *byte_tokenizer(), names, Checkpoint::open(path), 20'000'000);
  note_growth_kib(peak_memory_kib() - before);
}

TEST_CASE("one tensor is in memory while final/ is written", "[slow]") {
  if (!memory_can_be_measured) {
    WARN("a sanitizer has memory of its own: skipped");
    return;
  }
  const TemporaryFolder folder;
  std::vector<CheckpointSlice> slices;
  const Tensor half = counted({1024, 1024}, 0);
  for (int i = 0; i < 24; ++i)
    for (const int64_t row : {0, 1024}) {
      slices.push_back({"w" + std::to_string(i), "weight", {2048, 1024}, {row, 0}, half});
      std::fill_n(slices.back().data.data<float>(), half.numel(), 0.5f);
    }
  CheckpointFolderSink sink({(folder / "checkpoints").string(), run_of_test});
  write_checkpoint(sink, 3, {{"position", 12}, {"maths", {{"run", {{"seed", 42}}}}}}, {slices});
  const int64_t growth = growth_of_child_kib(folder.path(), "[writes-final]");
  const int64_t tensor_kib = 2048 * 1024 * 4 / 1024, all_kib = 24 * tensor_kib;
  fmt::print("{} KiB to write 24 tensors of {} KiB each\n", growth, tensor_kib);
  CHECK(growth >= tensor_kib);
  CHECK(growth <= tensor_kib + 6 * 1024);
  CHECK(all_kib > 10 * growth);
  CHECK(WeightFolder((folder / "final").string()).tensors().size() == 24);
}
