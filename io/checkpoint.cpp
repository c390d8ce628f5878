#include "io/checkpoint.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/log.hpp"
#include "io/checkpoint_name.hpp"

namespace collie {

namespace fs = std::filesystem;

Checkpoint::Checkpoint(std::shared_ptr<const CheckpointSource> source) : source_(std::move(source)) {
  const std::vector<CheckpointSource::Slice>& slices = source_->slices();
  for (size_t i = 0; i < slices.size(); ++i) slices_[{slices[i].name, slices[i].state}].push_back(i);
}

Checkpoint Checkpoint::open(const std::string& path) {
  return Checkpoint(std::make_shared<const CheckpointFolder>(path));
}

namespace {

constexpr int64_t most_values_at_once = 1 << 18;  // but for a longer row

bool overlap(const std::vector<int64_t>& a_offsets, const std::vector<int64_t>& a_shape,
             const std::vector<int64_t>& b_offsets, const std::vector<int64_t>& b_shape) {
  for (size_t axis = 0; axis < a_offsets.size(); ++axis)
    if (a_offsets[axis] + a_shape[axis] <= b_offsets[axis] ||
        b_offsets[axis] + b_shape[axis] <= a_offsets[axis])
      return false;
  return true;
}

// Copies the overlap of two rectangles of one global array, one row of the innermost dimension at a time.
// Returns the number of elements copied.
int64_t copy_overlap(const std::vector<int64_t>& from_offsets, const std::vector<int64_t>& from_shape,
                     const float* from, const std::vector<int64_t>& to_offsets,
                     const std::vector<int64_t>& to_shape, float* to) {
  const size_t rank = to_shape.size();
  std::vector<int64_t> begin(rank), extent(rank);
  int64_t total = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    begin[axis] = std::max(from_offsets[axis], to_offsets[axis]);
    const int64_t end = std::min(from_offsets[axis] + from_shape[axis], to_offsets[axis] + to_shape[axis]);
    extent[axis] = std::max<int64_t>(end - begin[axis], 0);
    total *= extent[axis];
  }
  if (total == 0) return 0;
  const int64_t run = rank == 0 ? 1 : extent[rank - 1];
  std::vector<int64_t> index(rank, 0);
  for (int64_t copied = 0; copied < total; copied += run) {
    int64_t from_at = 0, to_at = 0;
    for (size_t axis = 0; axis < rank; ++axis) {
      from_at = from_at * from_shape[axis] + begin[axis] + index[axis] - from_offsets[axis];
      to_at = to_at * to_shape[axis] + begin[axis] + index[axis] - to_offsets[axis];
    }
    std::memcpy(to + to_at, from + from_at, static_cast<size_t>(run) * sizeof(float));
    for (size_t axis = rank; axis-- > 0;) {  // next row
      if (axis + 1 == rank) continue;
      if (++index[axis] < extent[axis]) break;
      index[axis] = 0;
    }
  }
  return total;
}

// Copies what a slice has of the rectangle at `offsets`, a few rows of the slice at a time. Returns the
// number of elements copied.
int64_t copy_slice(const CheckpointSource& source, size_t index, const std::vector<int64_t>& offsets,
                   Tensor& out) {
  const CheckpointSource::Slice& slice = source.slices()[index];
  const std::vector<int64_t> wanted = out.shape().to_vector();
  if (Shape::from(slice.shape).numel() == 0) return 0;
  const int64_t width = Shape::from(slice.shape).numel() / slice.shape[0];
  const int64_t first = std::max<int64_t>(0, offsets[0] - slice.offsets[0]);
  const int64_t last = std::min(slice.shape[0], offsets[0] + wanted[0] - slice.offsets[0]);
  const int64_t rows_at_once = std::max<int64_t>(1, most_values_at_once / width);
  std::vector<float> values;
  int64_t copied = 0;
  for (int64_t row = first; row < last; row += rows_at_once) {
    const int64_t rows = std::min(rows_at_once, last - row);
    values.resize(static_cast<size_t>(rows * width));
    source.read(index, row * width, values);
    std::vector<int64_t> part_offsets = slice.offsets, part_shape = slice.shape;
    part_offsets[0] += row;
    part_shape[0] = rows;
    copied += copy_overlap(part_offsets, part_shape, values.data(), offsets, wanted, out.data<float>());
  }
  return copied;
}

}  // namespace

const std::vector<size_t>& Checkpoint::slices_of(const std::string& name, const std::string& state) const {
  const auto found = slices_.find({name, state});
  if (found == slices_.end()) throw UserError("{}: {} of '{}' is missing", path(), state, name);
  return found->second;
}

Shape Checkpoint::global_shape(const std::string& name, const std::string& state) const {
  return Shape::from(source_->slices()[slices_of(name, state).front()].global_shape);
}

void Checkpoint::check(const std::string& name, const std::string& state, const Shape& expected) const {
  if (const Shape found = global_shape(name, state); found != expected)
    throw UserError("{}: {} of '{}' has shape {}, the model has {}", path(), state, name, found.to_string(),
                    expected.to_string());
}

void Checkpoint::read(const std::string& name, const std::string& state, const Shape& global_shape,
                      const std::vector<int64_t>& offsets, Tensor& out) const {
  check(name, state, global_shape);
  int64_t filled = 0;
  for (const size_t index : slices_of(name, state)) {
    const CheckpointSource::Slice& slice = source_->slices()[index];
    if (!overlap(slice.offsets, slice.shape, offsets, out.shape().to_vector())) continue;
    filled += copy_slice(*source_, index, offsets, out);
  }
  COLLIE_ASSERT(filled == out.numel(), "{}: {} of '{}' gave {} of {} values", path(), state, name, filled,
                out.numel());
}

CheckpointSource::Slice whole_weight_slice(const std::string& name, const Shape& shape) {
  const std::vector<int64_t> sizes = shape.to_vector();
  return {name, "weight", sizes, std::vector<int64_t>(sizes.size(), 0), sizes};
}

std::vector<float> Checkpoint::evaluated(const std::string& name, const Shape& global_shape) const {
  Tensor values =
      Tensor::host(global_shape, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
  read_evaluated(name, global_shape, std::vector<int64_t>(static_cast<size_t>(global_shape.rank()), 0),
                 values);
  return {values.data<float>(), values.data<float>() + values.numel()};
}

void Checkpoint::read_evaluated(const std::string& name, const Shape& global_shape,
                                const std::vector<int64_t>& offsets, Tensor& out) const {
  read(name, "weight", global_shape, offsets, out);
  const nlohmann::json averages = metadata().value("averages", nlohmann::json::object());
  if (!averages.contains(name)) return;
  const nlohmann::json& average = averages.at(name);
  std::string state;
  float of_weight = 0, of_state = 0;
  try {
    state = average.at("state").get<std::string>();
    of_weight = average.at("of_weight").get<float>();
    of_state = average.at("of_state").get<float>();
  } catch (const nlohmann::json::exception& error) {
    throw UserError("{}: averages of '{}': {}; a state and two factors are wanted", path(), name,
                    error.what());
  }
  // A few rows at a time, as `out` may be large.
  const int64_t rows = out.numel() == 0 ? 0 : out.dim(0), width = rows == 0 ? 1 : out.numel() / rows;
  const int64_t rows_at_once = std::max<int64_t>(1, most_values_at_once / width);
  for (int64_t row = 0; row < rows; row += rows_at_once) {
    Tensor part = out.rows(row, std::min(rows, row + rows_at_once));
    Tensor values =
        Tensor::host(part.shape(), DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
    std::vector<int64_t> part_offsets = offsets;
    part_offsets[0] += row;
    read(name, state, global_shape, part_offsets, values);
    for (int64_t i = 0; i < part.numel(); ++i)
      part.data<float>()[i] = std::fma(of_state, values.data<float>()[i], of_weight * part.data<float>()[i]);
  }
}

std::optional<Checkpoint> latest_checkpoint(const std::string& folder) {
  const auto steps = checkpoint_steps(folder);
  std::string defect;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    try {
      return Checkpoint::open((fs::path(folder) / checkpoint_name(*step)).string());
    } catch (const std::exception& error) {
      log::warn("skipping a defective checkpoint: {}", error.what());
      if (defect.empty()) defect = error.what();
    }
  }
  if (!steps.empty())
    throw UserError(
        "{}: none of its {} checkpoints can be read (the newest: {}); restore one, or start the run anew "
        "with --overwrite",
        folder, steps.size(), defect);
  return std::nullopt;
}

}  // namespace collie
