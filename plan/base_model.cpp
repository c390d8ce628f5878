#include "plan/base_model.hpp"

#include <memory>

#include "base/sha256.hpp"
#include "io/checkpoint_layers.hpp"
#include "io/file_hash.hpp"
#include "models/model_folder_source.hpp"
#include "models/weights_io.hpp"

namespace collie {

std::optional<Checkpoint> over_base(const RunPlan& plan, std::optional<Checkpoint> checkpoint) {
  if (!checkpoint || plan.model.adapters.empty()) return checkpoint;
  const std::string& folder = plan.config.model.path;
  const ModelSpec base = plan.model.base();
  check_weights(folder, base);
  return Checkpoint(std::make_shared<const LayeredSource>(
      checkpoint->source(), std::make_shared<const ModelFolderSource>(folder, base)));
}

std::string weights_hash(const std::string& folder, const std::filesystem::path& cache) {
  std::string hashes;
  for (const std::filesystem::path& path : WeightFolder(folder).files()) {
    const FileHash hash(path.string(), cache);
    hash.remember();
    hashes += hash.sha256() + "\n";
  }
  return sha256_hex(std::as_bytes(std::span(hashes)));
}

}  // namespace collie
