// Sizes beyond the limits of docs/limits.md are refused with the file and the limit. Limits of what is inside
// a file are tested with its reader.
#include <filesystem>

#include "base/error.hpp"
#include "io/config.hpp"
#include "io/tokenizer.hpp"
#include "io/torch_file.hpp"
#include "io/weight_folder.hpp"
#include "io/zip_file.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/scratch_folder.hpp"
#include "tests/io/torch_archive.hpp"

using namespace collie;
using namespace collie::test;

namespace {

template <class Read>
std::string refusal_of_size(const Read& read) {
  try {
    read();
    return "no refusal";
  } catch (const UserError& error) {
    return error.what();
  }
}

// A file without blocks on the disk.
std::string hollow_file(const ScratchFolder& folder, const std::string& name, uint64_t bytes) {
  std::string path = folder.write(name, "");
  std::filesystem::resize_file(path, bytes);
  return path;
}

}  // namespace

TEST_CASE("an index of weights beyond its limit is refused") {
  const ScratchFolder folder;
  hollow_file(folder, "model.safetensors.index.json", longest_weight_index + 1);
  CHECK_THAT(refusal_of_size([&] { WeightFolder(folder.path()); }),
             contains("model.safetensors.index.json: it has 67108865 bytes, and no file of its kind has more "
                      "than 67108864"));
}

TEST_CASE("a zip directory and a pickle beyond their limits are refused, and not read") {
  const ScratchFolder folder;
  // The record at the end claims a directory of more than the limit.
  std::string archive = torch_file(pickle_of("}"));
  const uint32_t beyond = static_cast<uint32_t>(ZipFile::longest_directory) + 1;
  archive.replace(archive.size() - 10, 4, raw_bytes(beyond));
  const std::string file = folder.write("pytorch_model.bin", archive);
  CHECK_THAT(refusal_of_size([&] { read_torch_tensors(PositionalFile(file)); }),
             contains("pytorch_model.bin") && contains("67108865 bytes, and at most 67108864 are read"));
  const std::string large = folder.write("large.bin", torch_file(std::string((64u << 20) + 1, '.')));
  CHECK_THAT(refusal_of_size([&] { read_torch_tensors(PositionalFile(large)); }),
             contains("large.bin") && contains("67108864"));
}

TEST_CASE("a configuration beyond its limit is refused") {
  const ScratchFolder folder;
  const std::string file = hollow_file(folder, "c.yaml", (uint64_t{4} << 20) + 1);
  std::vector<std::string> warnings;
  CHECK_THAT(refusal_of_size([&] { load_config(file, {}, warnings); }),
             contains("c.yaml") && contains("4194304"));
}

TEST_CASE("a tokenizer.json that no reader could hold is refused") {
  const ScratchFolder folder;
  hollow_file(folder, "tokenizer.json", (uint64_t{1} << 30) + 1);
  CHECK_THAT(
      refusal_of_size([&] { load_tokenizer(folder.path(), "auto"); }),
      contains("tokenizer.json: it has 1073741825 bytes, and no file of its kind has more than 1073741824"));
}
