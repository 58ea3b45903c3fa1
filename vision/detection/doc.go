// Package detection has networks that find objects in pictures and draw a box around each: FCOS (Tian et al. 2019),
// RetinaNet (Lin et al. 2017) and Faster R-CNN (Ren et al. 2015) on a ResNet with a feature pyramid (Lin et al. 2016).
// Their keys, defaults and results are torchvision's.
package detection
