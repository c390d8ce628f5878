#include "io/checkpoint_files.hpp"

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "io/run_marker.hpp"
#include "io/safetensors.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// A checkpoint may lack its marker. A marker that is not as it was written is a defect like any other.
void check_marker(const std::string& path, const Manifest& manifest) {
  const auto marker = read_marker(path);
  if (marker && marker->run != manifest.run)
    throw UserError("{}: it is of run {}, the manifest beside it of run {}",
                    (fs::path(path) / marker_name).string(), marker->run, manifest.run);
}

void check_tensor(const SafetensorsFile& file, const ManifestSlice& slice) {
  const StoredTensor& tensor = file.find(slice.tensor);
  if (tensor.dtype != "F32" && tensor.dtype != "BF16" && tensor.dtype != "U8")
    throw UserError("{}: tensor '{}' is {}; in a checkpoint it must be F32, BF16 or U8", file.path().string(),
                    slice.tensor, tensor.dtype);
  if (tensor.dtype != slice.dtype || tensor.shape != slice.shape)
    throw UserError("{}: tensor '{}' is {} {}, but the manifest says {} {}", file.path().string(),
                    slice.tensor, tensor.dtype, json(tensor.shape).dump(), slice.dtype,
                    json(slice.shape).dump());
}

}  // namespace

CheckpointFolder::CheckpointFolder(const std::string& path) : path_(path) {
  const fs::path folder = fs::path(path).has_filename() ? fs::path(path) : fs::path(path).parent_path();
  const Manifest manifest = read_manifest(folder.string());
  check_marker(path, manifest);
  check_files(manifest, path);
  check_cover(manifest.slices, (folder / manifest_name).string());
  step_ = manifest.step;
  metadata_ = manifest.metadata;
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> files;  // by name
  for (const ManifestFile& file : manifest.files)
    files[file.name] = std::make_shared<const SafetensorsFile>(folder / file.name);
  for (const ManifestSlice& slice : manifest.slices) {
    check_tensor(*files.at(slice.file), slice);
    slices_.push_back({slice.name, slice.state, slice.global_shape, slice.offsets, slice.shape});
    stored_.push_back({files.at(slice.file), slice.tensor});
  }
}

void CheckpointFolder::read(size_t index, int64_t begin, std::span<float> values) const {
  const Stored& stored = stored_.at(index);
  const StoredTensor& tensor = stored.file->find(stored.tensor);
  const TensorReader reader(stored.file->file(), tensor);
  if (tensor.dtype != "U8") return reader.read(begin, values);
  std::vector<std::byte> codes(values.size());
  reader.read_bytes(begin, codes);
  std::transform(codes.begin(), codes.end(), values.begin(),
                 [](std::byte code) { return static_cast<float>(code); });
}

}  // namespace collie
