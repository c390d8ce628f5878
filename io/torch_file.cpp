#include "io/torch_file.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/pickled_tensors.hpp"
#include "io/zip_file.hpp"

namespace collie {

namespace {

using namespace std::string_view_literals;

template <class... Arguments>
[[noreturn]] void refuse_torch(const PositionalFile& file, fmt::format_string<Arguments...> format,
                               Arguments&&... arguments) {
  throw UserError("{}: {}", file.path().string(), fmt::format(format, std::forward<Arguments>(arguments)...));
}

// Both formats before PyTorch 1.6 begin in a way of their own.
void refuse_old_formats(const PositionalFile& file) {
  constexpr auto legacy =
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv;  // pickled magic number
  constexpr auto tar = "ustar"sv;
  constexpr size_t tar_begin = 257;
  std::string head(static_cast<size_t>(std::min<uint64_t>(file.size(), tar_begin + tar.size())), '\0');
  file.read(0, std::as_writable_bytes(std::span(head)));
  const bool is_tar = head.size() == tar_begin + tar.size() && head.ends_with(tar);
  if (!is_tar && !head.starts_with(legacy)) return;
  refuse_torch(file,
               "it has the {} format of PyTorch before {}, which is not read; torch.load and torch.save it "
               "again with a "
               "newer PyTorch",
               is_tar ? "tar" : "legacy", is_tar ? "0.4" : "1.6");
}

std::string text_of_entry(const PositionalFile& file, const ZipFile& archive, const std::string& name,
                          uint64_t most) {
  const uint64_t begin = archive.begin_of(name), bytes = archive.entries().at(name).bytes;
  if (bytes > most)
    refuse_torch(file, "its entry '{}' has {} bytes, and at most {} are read", shortened(name), bytes, most);
  std::string text(static_cast<size_t>(bytes), '\0');
  file.read(begin, std::as_writable_bytes(std::span(text)));
  return text;
}

// The folder in the archive that everything is in: "archive", or the file's first name.
std::string root_of(const PositionalFile& file, const ZipFile& archive) {
  std::vector<std::string> roots;
  for (const auto& [name, entry] : archive.entries()) {
    const size_t slash = name.find('/');
    if (slash != std::string::npos && name.substr(slash) == "/data.pkl")
      roots.push_back(name.substr(0, slash));
    if (slash != std::string::npos && name.substr(slash) == "/constants.pkl")
      refuse_torch(file,
                   "it is a TorchScript archive ('{}'); a file of torch.save with a state_dict() is right",
                   shortened(name));
  }
  if (roots.size() != 1)
    refuse_torch(file, "it is an archive with {} entries data.pkl; one is right, as torch.save writes it",
                 roots.size());
  return roots.front();
}

// Element `offset` of the storage and those that shape and strides reach lie within it.
void check_extent(const PositionalFile& file, const PickledTensor& tensor, int64_t elements) {
  int64_t last = tensor.offset;  // the farthest element
  bool fits = true;
  for (size_t axis = 0; fits && elements > 0 && axis < tensor.shape.size(); ++axis) {
    int64_t reach = 0;
    fits = !__builtin_mul_overflow(tensor.shape[axis] - 1, tensor.strides[axis], &reach) &&
           !__builtin_add_overflow(last, reach, &last);
  }
  if (!fits || (elements > 0 ? last >= tensor.storage_elements : tensor.offset > tensor.storage_elements))
    refuse_torch(file, "tensor '{}' reaches beyond its storage '{}' of {} elements", shortened(tensor.name),
                 shortened(tensor.storage), tensor.storage_elements);
}

std::vector<int64_t> dense_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

// The stride of an axis of one element is never used.
bool is_dense(const PickledTensor& tensor) {
  const std::vector<int64_t> dense = dense_strides(tensor.shape);
  for (size_t axis = 0; axis < dense.size(); ++axis)
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != dense[axis]) return false;
  return true;
}

int64_t elements_of(const PositionalFile& file, const PickledTensor& tensor) {
  int64_t elements = 1, bits = 0;
  const bool is_empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  if (is_empty) return 0;
  for (const int64_t size : tensor.shape)
    if (__builtin_mul_overflow(elements, size, &elements) ||
        __builtin_mul_overflow(elements, int64_t{tensor.element_bits}, &bits))
      refuse_torch(file, "tensor '{}' has more elements than any file can hold", shortened(tensor.name));
  return elements;
}

// Where the storages' bytes begin. A storage may serve many tensors.
class Storages {
 public:
  Storages(const PositionalFile& file, const ZipFile& archive, std::string root)
      : file_(file), archive_(archive), root_(std::move(root)) {}

  uint64_t begin_of(const PickledTensor& tensor) {
    const std::string entry = root_ + "/data/" + tensor.storage;
    const auto [place, is_new] = begins_.emplace(entry, 0);
    if (is_new) place->second = archive_.begin_of(entry);
    const uint64_t found = archive_.entries().at(entry).bytes;
    int64_t bytes = 0;
    if (__builtin_mul_overflow(tensor.storage_elements, int64_t{tensor.element_bits / 8}, &bytes) ||
        static_cast<uint64_t>(bytes) != found)
      refuse_torch(file_, "storage '{}' of tensor '{}' has {} bytes, but {} elements of {} are said",
                   shortened(tensor.storage), shortened(tensor.name), found, tensor.storage_elements,
                   tensor.dtype);
    return place->second;
  }

 private:
  const PositionalFile& file_;
  const ZipFile& archive_;
  const std::string root_;
  std::map<std::string, uint64_t> begins_;
};

void check_byte_order(const PositionalFile& file, const ZipFile& archive, const std::string& root) {
  const std::string name = root + "/byteorder";
  if (archive.entries().count(name) == 0) return;  // before PyTorch 2.1 there was none
  if (const std::string order = text_of_entry(file, archive, name, 64); order != "little")
    refuse_torch(file, "its byte order is '{}'; little is right", shortened(order));
}

StoredTensor stored(const PositionalFile& file, const PickledTensor& tensor, Storages& storages) {
  StoredTensor result;
  result.name = tensor.name;
  result.dtype = tensor.dtype;
  result.element_bits = tensor.element_bits;
  result.shape = tensor.shape;
  result.elements = elements_of(file, tensor);
  check_extent(file, tensor, result.elements);
  result.begin = storages.begin_of(tensor) +
                 static_cast<uint64_t>(tensor.offset) * static_cast<uint64_t>(tensor.element_bits / 8);
  if (result.elements > 0 && !is_dense(tensor)) result.strides = tensor.strides;
  return result;
}

}  // namespace

std::vector<StoredTensor> read_torch_tensors(const PositionalFile& file) {
  refuse_old_formats(file);
  const ZipFile archive(file);
  const std::string root = root_of(file, archive);
  check_byte_order(file, archive, root);
  const std::string pickle = text_of_entry(file, archive, root + "/data.pkl", longest_pickle);
  Storages storages(file, archive, root);
  std::vector<StoredTensor> tensors;
  for (const PickledTensor& tensor : read_pickled_tensors(pickle, file.path().string() + ": data.pkl"))
    tensors.push_back(stored(file, tensor, storages));
  return tensors;
}

}  // namespace collie
