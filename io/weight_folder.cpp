#include "io/weight_folder.hpp"

#include <array>
#include <set>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/safetensors.hpp"
#include "io/torch_file.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

constexpr std::array<const char*, 4> weight_files = {"model.safetensors", "model.safetensors.index.json",
                                                     "pytorch_model.bin", "pytorch_model.bin.index.json"};

fs::path find_weights(const std::string& folder, std::span<const char* const> files) {
  for (const char* name : files)
    if (const fs::path file = fs::path(folder) / name; may_be_there(file.string())) return file;
  std::string others;
  for (size_t i = 1; i < files.size(); ++i)
    others += (i == 1 ? "" : i + 1 == files.size() ? " or " : ", ") + std::string(files[i]);
  throw UserError("{}: No such file or directory, nor {}; one of them is wanted",
                  (fs::path(folder) / files.front()).string(), others);
}

// A file of the folder itself. Anything else might be any file of the machine.
void check_file_name(const std::string& index, const std::string& tensor, const std::string& name) {
  constexpr size_t longest_name = 255;  // NAME_MAX: the system has no longer ones
  if (name.empty() || name == "." || name == ".." || name.size() > longest_name ||
      name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
    throw UserError("{}: weight_map says that '{}' is in '{}'; the name of a file beside it is right", index,
                    shortened(tensor), shortened(name));
}

// Which file has a tensor, by the tensor's name.
std::map<std::string, std::string> read_weight_map(const std::string& index) {
  const nlohmann::json object = parse_json_object(read_regular_file(index, longest_weight_index), index);
  const auto found = object.find("weight_map");
  if (found == object.end() || !found->is_object() || found->empty())
    throw UserError("{}: weight_map is {}; an object of tensors' names and their files is right", index,
                    found == object.end() ? "missing" : in_short(*found));
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : found->items()) {
    if (!file.is_string())
      throw UserError("{}: weight_map says that '{}' is in {}; the name of a file is right", index,
                      shortened(tensor), in_short(file));
    check_file_name(index, tensor, file.get<std::string>());
    files.emplace(tensor, file.get<std::string>());
  }
  return files;
}

}  // namespace

// Either a safetensors file or one of torch.save.
struct WeightFolder::File {
  explicit File(const fs::path& path) {
    if (path.extension() == ".bin") {
      torch = std::make_unique<const PositionalFile>(path);
      torch_tensors = read_torch_tensors(*torch);
    } else {
      safetensors = std::make_unique<const SafetensorsFile>(path);
    }
  }
  const PositionalFile& file() const { return torch ? *torch : safetensors->file(); }
  const std::vector<StoredTensor>& tensors() const { return torch ? torch_tensors : safetensors->tensors(); }

  std::unique_ptr<const SafetensorsFile> safetensors;
  std::unique_ptr<const PositionalFile> torch;
  std::vector<StoredTensor> torch_tensors;
};

WeightFolder::WeightFolder(const std::string& folder) : WeightFolder(folder, weight_files) {}

WeightFolder::WeightFolder(const std::string& folder, std::span<const char* const> files)
    : path_(find_weights(folder, files)) {
  if (path_.extension() == ".json")
    open_files(read_weight_map(path_.string()));
  else
    open_file(path_);
  if (files_.front()->safetensors) metadata_ = files_.front()->safetensors->metadata();
}

void WeightFolder::open_file(const fs::path& path) {
  const auto& file = files_.emplace_back(std::make_shared<const File>(path));
  for (const StoredTensor& tensor : file->tensors())
    if (const auto [other, is_new] = tensors_.emplace(tensor.name, Place{&file->file(), &tensor}); !is_new)
      throw UserError("{}: tensor '{}' is in {}, too; it must be in one file", path.string(),
                      shortened(tensor.name), other->second.file->path().filename().string());
}

void WeightFolder::open_files(const std::map<std::string, std::string>& weight_map) {
  const fs::path folder = path_.parent_path();
  std::set<std::string> names;
  for (const auto& [tensor, name] : weight_map) {
    if (!names.insert(name).second) continue;
    if (!may_be_there((folder / name).string()))
      throw UserError("{}: weight_map names {} ('{}' is in it), but the folder has no such file",
                      path_.string(), shortened(name), shortened(tensor));
  }
  for (const std::string& name : names) open_file(folder / name);
  for (const auto& [tensor, name] : weight_map) {
    const auto found = tensors_.find(tensor);
    const std::string where = found == tensors_.end()
                                  ? "in none of its files"
                                  : "in " + found->second.file->path().filename().string();
    if (where != "in " + name)
      throw UserError("{}: weight_map says that '{}' is in {}, but it is {}", path_.string(),
                      shortened(tensor), shortened(name), where);
  }
}

std::vector<fs::path> WeightFolder::files() const {
  std::vector<fs::path> paths;
  for (const auto& file : files_) paths.push_back(file->file().path());
  return paths;
}

bool WeightFolder::is_there(const std::string& folder) {
  for (const char* name : weight_files)
    if (may_be_there((fs::path(folder) / name).string())) return true;
  return false;
}

const WeightFolder::Place& WeightFolder::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw UserError("{}: it has no tensor '{}' among its {}", path_.string(), shortened(name),
                    tensors_.size());
  return found->second;
}

}  // namespace collie
