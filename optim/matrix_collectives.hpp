// How the ranks that hold parts of matrices work together: over the tensor group, then the data group.
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

// Vectors of lines (kernels/matrix_tiles.hpp), in place. Sums have the same bits in any order if they are of
// rounded terms. x f64 [n]
void all_reduce_sum(const MatrixGroups& groups, Tensor& x);
// x [n] in accumulation_dtype(), not negative
void all_reduce_max(Operations& operations, const MatrixGroups& groups, Tensor& x);

// The ranks that hold a matrix share what is to be done for many matrices, each of which one rank does.
class SharedWork {
 public:
  explicit SharedWork(const MatrixGroups& groups) : groups_(groups) {}

  int ranks() const { return tensor_size() * (groups_.data == nullptr ? 1 : groups_.data->size()); }
  int rank() const { return data_rank() * tensor_size() + tensor_rank(); }
  using Parts = std::function<std::vector<MatrixPart>(int data, int tensor)>;
  using Place = std::function<void(const MatrixPart& part, const Tensor& values)>;
  // Brings the parts of a matrix to the rank `to`, which gets each of them by place(). own [n]: the values of
  // this rank's parts, one behind another. A part is sent over the data group, then over the tensor group, at
  // most once over each; nothing is sent by ranks that have the same parts as others.
  void gather(Operations& operations, const Tensor& own, const Parts& parts, int to,
              const Place& place) const;
  // What the rank `from` has, to all.
  void broadcast(Tensor& x, int from) const;

 private:
  int tensor_size() const { return groups_.tensor == nullptr ? 1 : groups_.tensor->size(); }
  int tensor_rank() const { return groups_.tensor == nullptr ? 0 : groups_.tensor->rank(); }
  int data_rank() const { return groups_.data == nullptr ? 0 : groups_.data->rank(); }
  Tensor collect_over_data(Operations& operations, const Tensor& own, const Parts& parts) const;

  MatrixGroups groups_;
};

}  // namespace collie
