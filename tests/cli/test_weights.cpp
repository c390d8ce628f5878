// Folders of weights through the command: several files in and out, PyTorch's files, dtypes, and what is
// refused.
#include <filesystem>
#include <fstream>

#include "io/safetensors.hpp"
#include "tests/cli/cluster.hpp"
#include "tests/cli/workbench.hpp"
#include "tests/io/torch_archive.hpp"

namespace collie::test {
namespace {

namespace fs = std::filesystem;

const Settings small_files = {"checkpoint.max_shard_size=6KB"}, two_steps = {"train.steps=2"};

// Puts PyTorch's file in the place of a folder's model.safetensors. Matrices are stored column by column.
void become_torch(const fs::path& folder) {
  const SafetensorsFile file(folder / "model.safetensors");
  std::vector<std::pair<std::string, std::string>> items;
  std::vector<std::string> storages;
  for (const StoredTensor& stored : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(stored.elements)), turned = values;
    file.to_float(stored.name, values);
    const std::vector<int32_t> shape(stored.shape.begin(), stored.shape.end());
    const int32_t rows = shape[0], columns = shape.size() == 2 ? shape[1] : 1;
    for (int32_t row = 0; row < rows; ++row)
      for (int32_t column = 0; column < columns; ++column)
        turned[static_cast<size_t>(column * rows + row)] =
            values[static_cast<size_t>(row * columns + column)];
    const std::vector<int32_t> strides =
        shape.size() == 2 ? std::vector<int32_t>{1, rows} : std::vector<int32_t>{1};
    items.emplace_back(stored.name, pickled_tensor(pickled_storage(std::to_string(storages.size()),
                                                                   static_cast<int32_t>(stored.elements)),
                                                   0, shape, strides));
    storages.push_back(floats(turned));
  }
  std::ofstream(folder / "pytorch_model.bin", std::ios::binary)
      << torch_file(pickle_of(dict_of(items)), storages);
  fs::remove(folder / "model.safetensors");
}

std::string second_file(const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (has(entry.path().filename().string(), "model-00002-of-")) return entry.path().string();
  throw std::runtime_error(folder.string() + " has no second file of weights");
}

}  // namespace

TEST_CASE("weights in several files, and PyTorch's, train on as those in one under every layout", "[slow]") {
  const Workbench bench;
  REQUIRE_CODE(bench.run("one", two_steps), 0);
  REQUIRE_CODE(bench.run("several", two_steps + small_files), 0);
  CHECK(fs::exists(bench / "several/final/model.safetensors.index.json"));
  CHECK_FALSE(fs::exists(bench / "several/final/model.safetensors"));
  fs::copy(bench / "one/final", bench / "torch");
  become_torch(bench / "torch");
  const std::vector<Settings> layouts = {{},
                                         {"parallel.pp_size=2", "parallel.tp_size=2"},
                                         {"parallel.dp_size=2", "parallel.zero_stage=3"},
                                         {"model.dtype=bfloat16", "parallel.pp_size=4"}};
  for (size_t i = 0; i < layouts.size(); ++i) {
    CAPTURE(i);
    const std::string name = "on" + std::to_string(i);
    const Training expected = bench.train(name + "-one", from_model("one/final") + two_steps + layouts[i]);
    CHECK_SAME(expected,
               bench.train(name + "-several", from_model("several/final") + two_steps + layouts[i]));
    CHECK_SAME(expected, bench.train(name + "-torch", from_model("torch") + two_steps + layouts[i]));
  }
  const Nodes nodes(2);  // in another folder
  const Settings over_nodes = from_model("several/final") + two_steps + layouts[1];
  REQUIRE_CODE(bench.run("nodes", over_nodes, over(nodes)), 0);
  CHECK_SAME(bench.training("on1-one"), bench.training("nodes"));
  const auto said = [&](const std::string& folder) {
    const Outcome speech = bench.command({"generate", "--model", folder, "--prompt", "some"});
    REQUIRE_CODE(speech, 0);
    return speech.output;
  };
  CHECK(said("several/final") == said("one/final"));
  CHECK(said("torch") == said("one/final"));
}

TEST_CASE("a finished run with several files of weights is finished, and without one of them is not",
          "[slow]") {
  const Workbench bench;
  const Settings settings = two_steps + small_files;
  REQUIRE_CODE(bench.run("run", settings), 0);
  const auto before = bench.everything("run");
  const size_t files = bench.everything("run/final").size();
  REQUIRE_CODE(bench.resume("run", settings), 0);
  CHECK_UNCHANGED(before, bench.everything("run"));
  fs::remove(second_file(bench / "run/final"));
  const std::string index = bench / "run/final/model.safetensors.index.json";
  REQUIRE_CODE(bench.resume("run", settings), 0);
  CHECK(bench.everything("run/final").size() == files);
  REQUIRE_CODE(bench.command({"generate", "--model", "run/final", "--prompt", "some"}), 0);
  // Another dtype, and one file again.
  fs::remove(index);
  REQUIRE_CODE(bench.resume("run", two_steps + Settings{"model.save_dtype=float16"}), 0);
  CHECK(SafetensorsFile(bench / "run/final/model.safetensors").tensors().front().dtype == "F16");
  CHECK_FALSE(fs::exists(index));
}

TEST_CASE("what is wrong with files of weights is said before the start") {
  const Workbench bench;
  REQUIRE_CODE(bench.run("run", Settings{"train.steps=1"} + small_files), 0);
  const std::string second = second_file(bench / "run/final");
  fs::rename(second, bench / "elsewhere");
  const std::string name = fs::path(second).filename();
  const Settings from_final = from_model("run/final");
  check_refused(bench.run("next", from_final), 2,
                {"run/final/model.safetensors.index.json", name, "no such file"});
  check_refused(bench.command({"generate", "--model", "run/final", "--prompt", "some"}), 2,
                {"model.safetensors.index.json", name});
  bench.write("run/final/model.safetensors.index.json", "{");
  check_refused(bench.run("next", from_final), 2, {"run/final/model.safetensors.index.json", "not JSON"});
  fs::remove(bench / "run/final/model.safetensors.index.json");
  bench.write(
      "run/final/pytorch_model.bin",
      torch_file(pickle_of(pickled_name("posix", "system") + tuple_of({pickled_text("echo harm")}) + "R")));
  check_refused(bench.run("next", from_final), 2,
                {"run/final/pytorch_model.bin: data.pkl, byte 2", "posix.system", "safetensors"});
  check_refused(bench.run("next", {"checkpoint.max_shard_size=5GiB"}), 2,
                {"checkpoint.max_shard_size", "found '5GiB'", "50GB"});
  check_refused(bench.run("next", {"model.save_dtype=fp16"}), 2, {"model.save_dtype", "fp16", "float16"});
  CHECK_FALSE(fs::exists(bench / "next"));
}

}  // namespace collie::test
