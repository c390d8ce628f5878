#include "models/parameter.hpp"

namespace collie {

const QuantisedMatrix& ParameterSource::quantised(ParameterId id) const {
  COLLIE_ASSERT(false, "parameter {} is asked for as codes, and is none", id);
  static const QuantisedMatrix none;
  return none;
}

}  // namespace collie
