// Tensors that wait on the host until they are needed again, so that the device has room for others
// (Operations::offload; Rhu et al., arXiv 1602.08124).
#pragma once

#include <memory>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie {

class Operations;

// Goes before the operation table that made it. Not thread-safe.
class Offloaded {
 public:
  virtual ~Offloaded() = default;
  // Begins to bring them back, beside what is queued from now on. At most once.
  virtual void fetch() = 0;
  // The tensors, for what is queued from now on; fetches them where nobody did. Once.
  virtual std::vector<Tensor> take() = 0;
};

// For tables whose memory the host's is: the tensors stay where they are.
std::unique_ptr<Offloaded> offload_nowhere(std::vector<Tensor> tensors);

// The copies between a device and the host, beside the rank's queue of work.
class HostCopies {
 public:
  // The host's side of some tensors.
  class Copy {
   public:
    virtual ~Copy() = default;
  };
  virtual ~HostCopies() = default;
  // Begins to copy them, after what is queued on them. They must be contiguous; undefined ones are left out.
  virtual std::shared_ptr<Copy> begin_out(const std::vector<Tensor>& tensors) = 0;
  // Begins to copy them back into `tensors`, after what is queued on these: as begin_out() was given.
  virtual void begin_back(Copy& copy, const std::vector<Tensor>& tensors) = 0;
  // What is queued from now on comes after the copy that was begun last.
  virtual void wait(Copy& copy) = 0;
};

// Lets go of the device's memory once the copies are there: at the next offload(), so that tensors of two
// calls at most are on their way out, and copying has the time between two calls.
class Offloader {
 public:
  Offloader(Operations& operations, std::unique_ptr<HostCopies> copies);
  ~Offloader();
  std::unique_ptr<Offloaded> offload(std::vector<Tensor> tensors);

 private:
  class Group;
  Operations& operations_;
  std::unique_ptr<HostCopies> copies_;
  Group* leaving_ = nullptr;  // the last, unless it was wanted back already
};

}  // namespace collie
