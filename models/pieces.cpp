#include "models/pieces.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

namespace collie {
namespace {

// Elements in one row of the parameter.
int64_t row_width(const Parameter& parameter) {
  return parameter.shape[0] == 0 ? 1 : parameter.shape.numel() / parameter.shape[0];
}

Shape with_rows(const Shape& shape, int64_t rows) {
  std::vector<int64_t> dims = shape.to_vector();
  dims[0] = rows;
  return Shape::from(dims);
}

// Calls visit(piece, begin, end) for the part of [begin, end) in each piece; positions are the parameter's.
template <class Visit>
void for_each_piece(const Parameter& parameter, int64_t begin, int64_t end, Visit&& visit) {
  COLLIE_ASSERT(0 <= begin && begin <= end && end <= parameter.shape.numel(), "{}: elements [{}, {}) of {}",
                parameter.name, begin, end, parameter.shape.to_string());
  const int64_t width = row_width(parameter);
  for (const Piece& piece : pieces_of(parameter)) {
    const int64_t first = std::max(begin, piece.row * width);
    const int64_t last = std::min(end, (piece.row + piece.rows) * width);
    if (first < last) visit(piece, first, last);
  }
}

// The rows and columns of a matrix's elements [begin, end): a part of a row, whole rows, a part of a row.
struct Cells {
  int64_t row = 0, rows = 0, column = 0, columns = 0;
};
std::vector<Cells> cells_of(int64_t begin, int64_t end, int64_t width) {
  std::vector<Cells> all;
  while (begin < end) {
    const int64_t row = begin / width, column = begin % width;
    if (column != 0 || end - begin < width) {
      const int64_t columns = std::min(width - column, end - begin);
      all.push_back({row, 1, column, columns});
      begin += columns;
    } else {
      const int64_t rows = (end - begin) / width;
      all.push_back({row, rows, 0, width});
      begin += rows * width;
    }
  }
  return all;
}

// --- pieces in the tensor's own order, of any rank

// The element of the flattened tensor that is element `element` of the flattened piece.
int64_t tensor_index(const Piece& piece, const Shape& shape, int64_t element) {
  int64_t index = 0, stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index += (piece.offsets[static_cast<size_t>(axis)] + element % shape[axis]) * stride;
    element /= shape[axis];
    stride *= piece.tensor_shape[axis];
  }
  return index;
}

// Elements of the flattened piece that follow each other in the tensor, too: its inner dimensions, as far as
// nothing is cut off them, and the innermost that is cut.
int64_t run_length(const Piece& piece, const Shape& shape) {
  int64_t length = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    length *= shape[axis];
    if (shape[axis] != piece.tensor_shape[axis]) break;
  }
  return length;
}

// The elements [begin, end) of a flattened array as few rectangles, in order.
struct Rectangle {
  std::vector<int64_t> offsets, shape;
};
std::vector<Rectangle> rectangles_of_range(std::span<const int64_t> shape, int64_t begin, int64_t end) {
  if (begin >= end) return {};
  if (shape.size() == 1) return {{{begin}, {end - begin}}};
  const auto inner = shape.subspan(1);
  int64_t width = 1;
  for (const int64_t size : inner) width *= size;
  std::vector<Rectangle> all;
  for (const Cells& cells : cells_of(begin, end, width))
    for (const Rectangle& part : rectangles_of_range(inner, cells.column, cells.column + cells.columns)) {
      Rectangle& whole = all.emplace_back(Rectangle{{cells.row}, {cells.rows}});
      whole.offsets.insert(whole.offsets.end(), part.offsets.begin(), part.offsets.end());
      whole.shape.insert(whole.shape.end(), part.shape.begin(), part.shape.end());
    }
  return all;
}

}  // namespace

std::vector<Piece> pieces_of(const Parameter& parameter) {
  if (!parameter.pieces.empty()) return parameter.pieces;
  return {{parameter.name, parameter.shape, 0, parameter.shape[0], {}, false}};
}

Parameter whole_tensor(const std::string& name, const Shape& shape) {
  Parameter parameter{name, shape};
  parameter.pieces = pieces_of(parameter);
  return parameter;
}

Parameter part_of_tensor(const std::string& tensor, const Shape& tensor_shape, int64_t first, int64_t rows,
                         bool transposed) {
  COLLIE_ASSERT(!transposed || tensor_shape.rank() == 2, "{}: {} transposed", tensor,
                tensor_shape.to_string());
  const Shape shape = transposed ? Shape{rows, tensor_shape[0]} : with_rows(tensor_shape, rows);
  const int axis = transposed ? 1 : 0;
  COLLIE_ASSERT(0 <= first && first + rows <= tensor_shape[axis], "{}: [{}, {}) of {}", tensor, first,
                first + rows, tensor_shape.to_string());
  Parameter parameter{tensor, shape};
  Piece piece{tensor, tensor_shape, 0, rows, {}, transposed};
  piece.offsets[static_cast<size_t>(axis)] = first;
  parameter.pieces = {piece};
  return parameter;
}

Parameter stacked(const std::string& name, const std::vector<Parameter>& parts) {
  Parameter all = parts.at(0);
  all.name = name;
  all.pieces.clear();
  int64_t rows = 0;
  for (const Parameter& part : parts) {
    COLLIE_ASSERT(with_rows(part.shape, 0) == with_rows(all.shape, 0), "{}: {} below {}", name,
                  part.shape.to_string(), all.shape.to_string());
    for (Piece piece : pieces_of(part)) {
      piece.row += rows;
      all.pieces.push_back(std::move(piece));
    }
    rows += part.shape[0];
  }
  all.shape = with_rows(all.shape, rows);
  return all;
}

void keep_part(Parameter& parameter, int axis, int64_t part, int64_t parts) {
  parameter.pieces = pieces_of(parameter);
  COLLIE_ASSERT(parameter.pieces.size() == 1, "{} has {} pieces: they are cut before they are stacked",
                parameter.name, parameter.pieces.size());
  std::vector<int64_t> dims = parameter.shape.to_vector();
  int64_t& size = dims.at(static_cast<size_t>(axis));
  COLLIE_ASSERT(size % parts == 0, "{}: axis {} of {} cannot be cut into {}", parameter.name, axis,
                parameter.shape.to_string(), parts);
  size /= parts;
  Piece& piece = parameter.pieces.front();
  piece.offsets[static_cast<size_t>(piece.transposed ? 1 - axis : axis)] += part * size;
  piece.rows = dims[0];
  parameter.shape = Shape::from(dims);
}

NamedTensor named_tensor_of(const Parameter& parameter, const Piece& piece) {
  return {piece.tensor, piece.tensor_shape, parameter.is_table, piece.transposed, parameter.stored_rows};
}

std::vector<NamedTensor> tensors_of(const std::vector<Parameter>& parameters) {
  std::vector<NamedTensor> all;
  std::set<std::string> seen;
  for (const Parameter& parameter : parameters)
    for (const Piece& piece : pieces_of(parameter))
      if (seen.insert(piece.tensor).second) all.push_back(named_tensor_of(parameter, piece));
  return all;
}

namespace {

// Of a transposed piece, a column of the parameter is a run.
void visit_columns(const Piece& piece, const Cells& cells, int64_t width,
                   const std::function<void(const TensorRun&)>& visit) {
  const int64_t first = piece.offsets[0] * piece.tensor_shape[1] + piece.offsets[1] + cells.row - piece.row;
  for (int64_t column = cells.column; column < cells.column + cells.columns; ++column)
    visit({piece, first + column * piece.tensor_shape[1], cells.rows, cells.row * width + column, width});
}

}  // namespace

void for_each_run(const Parameter& parameter, int64_t begin, int64_t end,
                  const std::function<void(const TensorRun&)>& visit) {
  const int64_t width = row_width(parameter);
  for_each_piece(parameter, begin, end, [&](const Piece& piece, int64_t from, int64_t to) {
    if (piece.transposed) {
      for (const Cells& cells : cells_of(from, to, width)) visit_columns(piece, cells, width, visit);
      return;
    }
    const Shape shape = with_rows(parameter.shape, piece.rows);
    const int64_t origin = piece.row * width, length = run_length(piece, shape);
    while (from < to) {
      const int64_t stop = std::min(to, origin + ((from - origin) / length + 1) * length);
      visit({piece, tensor_index(piece, shape, from - origin), stop - from, from, 1});
      from = stop;
    }
  });
}

void fill_run(const TensorRun& run, float* values, const std::function<void(std::span<float>)>& fill) {
  const auto count = static_cast<size_t>(run.count);
  if (run.stride == 1) return fill(std::span(values, count));
  std::vector<float> dense(count);
  fill(dense);
  for (int64_t i = 0; i < run.count; ++i) values[i * run.stride] = dense[static_cast<size_t>(i)];
}

void for_each_rectangle(const Parameter& parameter, int64_t begin, int64_t end,
                        const std::function<void(const TensorRectangle&)>& visit) {
  const int64_t width = row_width(parameter);
  for_each_piece(parameter, begin, end, [&](const Piece& piece, int64_t from, int64_t to) {
    const std::vector<int64_t> shape = with_rows(parameter.shape, piece.rows).to_vector();
    const int64_t origin = piece.row * width;
    for (Rectangle& rectangle : rectangles_of_range(shape, from - origin, to - origin)) {
      if (piece.transposed) {
        std::swap(rectangle.offsets[0], rectangle.offsets[1]);
        std::swap(rectangle.shape[0], rectangle.shape[1]);
      }
      for (size_t axis = 0; axis < rectangle.offsets.size(); ++axis)
        rectangle.offsets[axis] += piece.offsets[axis];
      const Shape dims = Shape::from(rectangle.shape);
      // A row or a column is the same in either order.
      const bool transposed = piece.transposed && dims[0] > 1 && dims[1] > 1;
      visit({piece, from, std::move(rectangle.offsets), dims, transposed});
      from += dims.numel();
    }
  });
}

Tensor transposed_on_host(const Tensor& matrix, std::shared_ptr<MemoryAccount> account, Category category) {
  COLLIE_ASSERT(matrix.contiguous() && matrix.shape().rank() == 2, "the transpose of {}",
                matrix.shape().to_string());
  const int64_t rows = matrix.dim(0), columns = matrix.dim(1);
  Tensor result = Tensor::host({columns, rows}, matrix.dtype(), std::move(account), category);
  const size_t size = size_of(matrix.dtype());
  const auto* const from = static_cast<const std::byte*>(matrix.raw());
  auto* const to = static_cast<std::byte*>(result.raw());
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      std::memcpy(to + static_cast<size_t>(column * rows + row) * size,
                  from + static_cast<size_t>(row * columns + column) * size, size);
  return result;
}

std::vector<int64_t> piece_bounds(const Parameter& parameter, int64_t begin, int64_t end) {
  std::vector<int64_t> bounds = {begin};
  for_each_piece(parameter, begin, end, [&](const Piece&, int64_t, int64_t to) { bounds.push_back(to); });
  return bounds;
}

Piece piece_at(const Parameter& parameter, int64_t element) {
  Piece found;
  for_each_piece(parameter, element, element + 1,
                 [&](const Piece& piece, int64_t, int64_t) { found = piece; });
  return found;
}

std::pair<std::string, int64_t> place_of(const Parameter& parameter, int64_t element) {
  std::pair<std::string, int64_t> place;
  const int64_t width = row_width(parameter);
  for_each_piece(parameter, element, element + 1, [&](const Piece& piece, int64_t at, int64_t) {
    place.first = piece.tensor;
    const int64_t inside = at - piece.row * width;
    place.second = piece.transposed ? (piece.offsets[1] + inside / width) * piece.tensor_shape[0] +
                                          piece.offsets[0] + inside % width
                                    : tensor_index(piece, with_rows(parameter.shape, piece.rows), inside);
  });
  return place;
}

}  // namespace collie
