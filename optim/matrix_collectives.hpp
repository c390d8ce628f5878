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
  // In place, over the ranks that have different parts; the others have the same values.
  void sum(Tensor& x) const;
  // What the rank `from` has, to all.
  void broadcast(Tensor& x, int from) const;

 private:
  int tensor_size() const { return groups_.tensor == nullptr ? 1 : groups_.tensor->size(); }
  int tensor_rank() const { return groups_.tensor == nullptr ? 0 : groups_.tensor->rank(); }
  int data_rank() const { return groups_.data == nullptr ? 0 : groups_.data->rank(); }

  MatrixGroups groups_;
};

}  // namespace collie
