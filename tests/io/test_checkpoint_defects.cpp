// Whatever is wrong with a checkpoint is found when it is opened, and said as the user's error.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <random>

#include "base/error.hpp"
#include "io/checkpoint.hpp"
#include "io/checkpoint_manifest.hpp"
#include "io/files.hpp"
#include "io/run_marker.hpp"
#include "io/sealed_json.hpp"
#include "tests/catch.hpp"
#include "tests/counted.hpp"
#include "tests/io/scratch_folder.hpp"

namespace collie {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string run(32, 'a');

CheckpointSlice rows(const std::string& state, int64_t first, int64_t count, int64_t all) {
  CheckpointSlice slice{
      "layer.weight",
      state,
      {all, 3},
      {first, 0},
      Tensor::host({count, 3}, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace)};
  for (int64_t i = 0; i < count * 3; ++i) slice.data.data<float>()[i] = static_cast<float>(first * 3 + i);
  return slice;
}

// Two shards: a weight of six rows in two slices, and a state of it.
std::string write_small(const std::string& folder, int64_t step) {
  CheckpointFolderSink sink({folder, run});
  return write_checkpoint(sink, step, {{"position", 7}, {"maths", {{"seed", 1}}}},
                          {{rows("weight", 0, 4, 6), rows("exp_avg", 0, 6, 6)}, {rows("weight", 4, 2, 6)}});
}

// Empty where the checkpoint is refused as the user's error.
std::string opened(const std::string& checkpoint) {
  try {
    Checkpoint::open(checkpoint);
  } catch (const UserError&) {
    return "";
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
  return "it was accepted";
}

// A file, one bit of which is another as long as this object lives.
class FlippedBit {
 public:
  FlippedBit(const std::string& file, size_t bit) : fd_(::open(file.c_str(), O_RDWR)), at_(bit / 8) {
    mask_ = static_cast<unsigned char>(1u << (bit % 8));
    flip();
  }
  ~FlippedBit() {
    flip();
    ::close(fd_);
  }
  FlippedBit(const FlippedBit&) = delete;
  FlippedBit& operator=(const FlippedBit&) = delete;

 private:
  void flip() const {
    unsigned char byte = 0;
    if (::pread(fd_, &byte, 1, static_cast<off_t>(at_)) != 1) std::abort();
    byte ^= mask_;
    if (::pwrite(fd_, &byte, 1, static_cast<off_t>(at_)) != 1) std::abort();
  }
  int fd_;
  size_t at_;
  unsigned char mask_ = 0;
};

void check_flip(const std::string& checkpoint, const std::string& name, size_t bit) {
  const FlippedBit flipped(checkpoint + "/" + name, bit);
  const std::string fault = opened(checkpoint);
  CAPTURE(name, bit);
  if (!fault.empty()) FAIL_CHECK(fault);
  test::counted("flipped bits of " + name.substr(0, name.find('-')) + ", each found");
}

// The manifest as `change` makes it, sealed anew: only what its fields say can be wrong with it.
void change_manifest(const std::string& checkpoint, const std::function<void(json&)>& change) {
  const std::string file = checkpoint + "/" + manifest_name;
  json manifest = unseal(read_text_file(file), file);
  manifest.erase("sha256");
  change(manifest);
  write_file_durably(file, seal(manifest));
}

}  // namespace

TEST_CASE("every single bit of a checkpoint's manifest and marker counts", "[slow]") {
  const test::ScratchFolder folder;
  const std::string checkpoint = write_small(folder.path(), 6);
  for (const std::string name : {manifest_name, marker_name}) {
    const size_t bits = 8 * fs::file_size(checkpoint + "/" + name);
    for (size_t bit = 0; bit < bits; ++bit) check_flip(checkpoint, name, bit);
  }
  CHECK(opened(checkpoint) == "it was accepted");
}

TEST_CASE("a flipped bit in a shard of a checkpoint is found") {
  const test::ScratchFolder folder;
  const std::string checkpoint = write_small(folder.path(), 6);
  std::mt19937 random(1);
  for (const std::string name : {"shard-00000.safetensors", "shard-00001.safetensors"}) {
    const size_t bits = 8 * fs::file_size(checkpoint + "/" + name);
    for (int i = 0; i < 200; ++i) check_flip(checkpoint, name, random() % bits);
  }
  CHECK(opened(checkpoint) == "it was accepted");
}

TEST_CASE("every field of a manifest is checked, whatever its hash says") {
  using Change = std::function<void(json&)>;
  const auto slice = [](const char* key, const json& value, size_t index = 0) -> Change {
    return [=](json& manifest) { manifest["slices"][index][key] = value; };
  };
  const auto file = [](const char* key, const json& value) -> Change {
    return [=](json& manifest) { manifest["files"][0][key] = value; };
  };
  const auto top = [](const char* key, const json& value) -> Change {
    return [=](json& manifest) { manifest[key] = value; };
  };
  const int64_t huge = int64_t{1} << 62;
  const std::vector<std::pair<Change, std::string>> changes = {
      {top("format", "collie-engine checkpoint 1"), "an earlier version"},
      {top("format", "collie-engine checkpoint 30"), "a later version"},
      {top("format", 2), "format"},
      {top("step", 7), "the folder is step-00000006"},
      {top("step", -6), "step"},
      {top("step", 6.0), "step"},
      {top("step", "6"), "step"},
      {top("run", std::string(32, 'b')), "it is of run"},
      {top("run", nullptr), "run"},
      {top("metadata", json::array()), "metadata"},
      {top("metadata", {{"position", 7}}), "maths"},
      {top("metadata", {{"position", 7}, {"maths", 3}}), "maths"},
      {top("metadata", {{"position", -1}, {"maths", json::object()}}), "position"},
      {top("metadata", {{"position", "7"}, {"maths", json::object()}}), "position"},
      {top("files", json::object()), "files"},
      {top("files", json::array()), "not listed"},
      {top("files", {1, 2}), "entry"},
      {top("slices", "none"), "slices"},
      {[](json& manifest) { manifest.erase("slices"); }, "slices"},
      {file("name", "../shard-00000.safetensors"), "name of a file"},
      {file("name", "/etc/passwd"), "name of a file"},
      {file("name", ".."), "name of a file"},
      {file("name", "a/b"), "name of a file"},
      {file("name", ""), "name"},
      {file("name", manifest_name), "name of a file"},
      {file("name", "shard-00001.safetensors"), "twice"},
      {file("name", std::string("shard\0x", 7)), "name of a file"},
      {file("name", std::string(300, 'x')), "name of a file"},
      {file("bytes", 5), "bytes long"},
      {file("bytes", -5), "bytes"},
      {file("sha256", std::string(64, '0')), "SHA-256"},
      {file("sha256", "ABC"), "sha256"},
      {slice("name", "other.weight"), "elements"},
      {slice("name", 5), "name"},
      {slice("state", "exp_avg"), "overlap"},
      {slice("file", "shard-00009.safetensors"), "not listed"},
      {slice("file", "shard-00001.safetensors"), "no tensor"},
      {slice("tensor", "nothing"), "no tensor"},
      {slice("dtype", "BF16"), "the manifest says"},
      {slice("shape", {4, 3, 1}), "same rank"},
      {slice("shape", {3, 3}), "15 of its 18"},
      {[](json& manifest) {
         for (const char* key : {"shape", "global_shape"}) manifest["slices"][1][key] = {3, 6};
       },
       "the manifest says"},
      {slice("shape", {3, 4}), "lie within"},
      {slice("shape", {0, 3}), "shape"},
      {slice("shape", {4.5, 3}), "shape"},
      {slice("shape", {"4", 3}), "shape"},
      {slice("shape", {huge, 3}), "lie within"},
      {slice("offsets", {1, 0}), "overlap"},
      {slice("offsets", {3, 0}), "lie within"},
      {slice("offsets", {INT64_MAX, 0}), "lie within"},
      {slice("offsets", {-1, 0}), "offsets"},
      {slice("offsets", {0}), "same rank"},
      {slice("global_shape", {6, 4}), "global_shape"},
      {slice("global_shape", {huge, huge}), "more than any memory"},
      {slice("global_shape", {1, 1, 1, 6, 3}), "dimensions"},
      {slice("global_shape", json::array()), "same rank"},
      {[](json& manifest) { manifest["slices"].push_back(manifest["slices"][0]); }, "two slices"},
      {[](json& manifest) { manifest["slices"].erase(0); }, "6 of its 18"},
  };
  const test::ScratchFolder folder;
  const std::string checkpoint = write_small(folder.path(), 6);
  const std::string manifest = read_text_file(checkpoint + "/" + manifest_name);
  for (size_t i = 0; i < changes.size(); ++i) {
    const auto& [change, part] = changes[i];
    INFO("change " << i << ", which should be refused with '" << part << "'");
    change_manifest(checkpoint, change);
    std::string message = "it was accepted";
    try {
      Checkpoint::open(checkpoint);
    } catch (const UserError& error) {
      message = error.what();
    } catch (const std::exception& error) {
      message = std::string("another exception: ") + error.what();
    }
    INFO(message);
    CHECK(message.find(checkpoint) == 0);
    CHECK(message.find(part) < message.size());
    write_file_durably(checkpoint + "/" + manifest_name, manifest);
  }
  CHECK(opened(checkpoint) == "it was accepted");
}

TEST_CASE("what cannot be read of a checkpoint is a defect, and nothing is waited for") {
  const test::ScratchFolder folder;
  const std::string good = write_small(folder.path(), 5), bad = write_small(folder.path(), 6);
  const std::string manifest = bad + "/" + manifest_name, shard = bad + "/shard-00001.safetensors";
  SECTION("no manifest") {
    fs::remove(manifest);
  }
  SECTION("an empty folder") {
    fs::remove_all(bad);
    fs::create_directory(bad);
  }
  SECTION("a manifest that is a folder") {
    fs::remove(manifest);
    fs::create_directory(manifest);
  }
  SECTION("a manifest that is a pipe") {
    fs::remove(manifest);
    REQUIRE(::mkfifo(manifest.c_str(), 0600) == 0);
  }
  SECTION("a manifest that is a device") {
    fs::remove(manifest);
    fs::create_symlink("/dev/zero", manifest);
  }
  SECTION("an empty manifest") {
    fs::resize_file(manifest, 0);
  }
  SECTION("a manifest that is cut off") {
    fs::resize_file(manifest, fs::file_size(manifest) - 1);
  }
  SECTION("the manifest of another step") {
    fs::copy_file(good + "/" + manifest_name, manifest, fs::copy_options::overwrite_existing);
  }
  SECTION("a shard that is missing") {
    fs::remove(shard);
  }
  SECTION("a shard that is a pipe") {
    fs::remove(shard);
    REQUIRE(::mkfifo(shard.c_str(), 0600) == 0);
  }
  SECTION("a shard that is a link to one") {
    fs::rename(shard, folder / "elsewhere");
    fs::create_symlink(folder / "elsewhere", shard);
  }
  SECTION("a marker that is cut off") {
    fs::resize_file(bad + "/" + marker_name, 10);
  }
  CHECK(opened(bad) == "");
  const auto found = latest_checkpoint(folder.path());
  REQUIRE(found);
  CHECK(found->step() == 5);
}

TEST_CASE("a checkpoint is found through a link, with a slash at its end, and without its marker") {
  const test::ScratchFolder folder;
  const std::string checkpoint = write_small(folder / "", 6);
  fs::create_directory(folder / "elsewhere");
  fs::create_directory_symlink(checkpoint, folder / "elsewhere/step-00000006");
  CHECK(Checkpoint::open(checkpoint + "/").step() == 6);
  CHECK(latest_checkpoint(folder / "elsewhere")->step() == 6);
  fs::remove(checkpoint + "/" + marker_name);
  CHECK(latest_checkpoint(folder.path())->step() == 6);
}

TEST_CASE("the checkpoint of an earlier version is refused with its format") {
  const test::ScratchFolder folder;
  folder.write("step-00000006/manifest.json",
               "{\n \"files\": [],\n \"format\": \"collie-engine checkpoint 1\",\n \"step\": 6\n}\n");
  try {
    latest_checkpoint(folder.path());
    FAIL("it was accepted");
  } catch (const UserError& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(message.find("earlier version of collie-engine") != std::string::npos);
    CHECK(message.find("\"collie-engine checkpoint 1\"") != std::string::npos);
  }
}

}  // namespace collie
