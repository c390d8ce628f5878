// The weights in a Hugging Face folder, whatever files they are in. As in transformers, the first of these
// counts: model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/positional_file.hpp"
#include "io/stored_tensor.hpp"

namespace collie {

// The longest index that is read, in bytes.
constexpr uint64_t longest_weight_index = uint64_t{64} << 20;

// It is immutable, so threads may share it. No tensor is held in memory.
class WeightFolder {
 public:
  // Reads and verifies the files' directories of tensors, and the index if there is one. Throws UserError
  // naming file and tensor: for a file that is missing or damaged, for a tensor that is in two files, or is
  // not in the file that the index says.
  explicit WeightFolder(const std::string& folder);
  // The same of the first of other files (one safetensors file, or one of PyTorch).
  WeightFolder(const std::string& folder, std::span<const char* const> files);

  // Whether the folder has, or may have, one of the four files.
  static bool is_there(const std::string& folder);

  // The file that counts: that of the weights, or the index.
  const std::filesystem::path& path() const { return path_; }
  // The files that hold tensors, sorted by name.
  std::vector<std::filesystem::path> files() const;
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }  // of a first safetensors file

  struct Place {
    const PositionalFile* file;
    const StoredTensor* tensor;
  };
  // By name.
  const std::map<std::string, Place>& tensors() const { return tensors_; }
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }
  // Throws UserError naming the file if there is no such tensor.
  const Place& find(const std::string& name) const;

 private:
  struct File;
  void open_file(const std::filesystem::path& file);
  void open_files(const std::map<std::string, std::string>& weight_map);

  std::filesystem::path path_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::shared_ptr<const File>> files_;
  std::map<std::string, Place> tensors_;
};

}  // namespace collie
