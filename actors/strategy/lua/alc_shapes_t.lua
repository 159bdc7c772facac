-- SPDX-License-Identifier: Apache-2.0
-- alc_shapes.t: the constructors alone.

return require("alc_shapes").T
