#include "tests/fuzz/targets/manifest.hpp"

#include <filesystem>
#include <numeric>

#include "base/error.hpp"
#include "io/checkpoint.hpp"
#include "io/json_text.hpp"
#include "io/sealed_json.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"
#include "tests/io/scratch_folder.hpp"

namespace collie::test {

namespace fs = std::filesystem;

const char* const manifest_of_checkpoint = "step-00000003/manifest.json";

namespace {

class KeptCheckpoint {
 public:
  KeptCheckpoint() {
    const auto account = std::make_shared<MemoryAccount>();
    Tensor data = Tensor::host({4, 6}, DType::f32, account, Category::workspace);
    std::iota(data.data<float>(), data.data<float>() + 24, 0.0f);
    CheckpointFolderSink sink({folder_.path(), std::string(32, 'a')});
    write_checkpoint(sink, 3, {{"position", 12}, {"maths", {{"run", {{"seed", 42}}}}}},
                     {{{"w", "weight", {8, 6}, {0, 0}, data}}, {{"w", "weight", {8, 6}, {4, 0}, data}}});
  }
  const std::string& path() const { return folder_.path(); }

 private:
  ScratchFolder folder_;
};

}  // namespace

const std::string& some_checkpoint() {
  static const KeptCheckpoint checkpoint;
  return checkpoint.path();
}

void read_manifest(const std::string& folder, const std::string& contents) {
  fs::copy(some_checkpoint(), folder, fs::copy_options::recursive);
  put(folder, manifest_of_checkpoint, contents);
  const auto checkpoint = latest_checkpoint(folder);
  if (!checkpoint) throw UserError("there is no checkpoint");
}

void read_resealed_manifest(const std::string& folder, const std::string& contents) {
  const nlohmann::json manifest = parse_json_object(contents, "the manifest");
  if (manifest.empty() || manifest.contains("sha256"))
    throw UserError("this is no manifest without its hash");
  read_manifest(folder, seal(manifest));
}

}  // namespace collie::test
