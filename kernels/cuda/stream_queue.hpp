// A stream as the layers above see it.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/device_queue.hpp"

namespace collie::cuda {

std::shared_ptr<DeviceQueue> stream_queue(std::shared_ptr<Stream> stream);

}  // namespace collie::cuda
